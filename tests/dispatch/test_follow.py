"""`telltale.follow`: the options of tasks that are shown by their names."""

from collections.abc import Iterator

import pytest
from django.utils.translation import gettext_lazy, override

from telltale.dispatch import follow as follow_module
from telltale.dispatch.follow import follow, options_by_name

PATTERN = "elsewhere.tasks.*"


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    yield
    follow_module._labels.pop(PATTERN, None)


def test_a_followed_task_has_one_set_of_options_whatever_the_language_of_its_label() -> None:
    # A run is recognised by its options: wrapped in one language, it may begin in another.
    follow(PATTERN, label=gettext_lazy("Task"))
    with override("en"):
        options = options_by_name("elsewhere.tasks.send")
    with override("de"):
        assert options_by_name("elsewhere.tasks.send") is options
        assert options is not None
        assert options.label_for("elsewhere.tasks.send") == "Aufgabe"
