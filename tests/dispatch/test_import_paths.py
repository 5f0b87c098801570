"""Dotted names of functions: from the function to its name, and back."""

import pytest

from telltale.dispatch.import_paths import dotted_name, find_task, import_or_none
from tests.app import thread_tasks


class Mailbox:
    """A function beneath it is not at its module's top level."""

    @staticmethod
    def empty() -> None:
        pass


def test_a_function_is_found_by_its_dotted_name() -> None:
    assert dotted_name(thread_tasks.count) == "tests.app.thread_tasks.count"
    assert import_or_none(dotted_name(thread_tasks.count)) is thread_tasks.count


@pytest.mark.parametrize(
    "name",
    ["", "count", ".count", "tests.app.thread_tasks.no_such_task", "tests.no_such_module.count", f"{__name__}."],
)
def test_a_name_that_cannot_be_imported_finds_nothing(name: str) -> None:
    assert import_or_none(name) is None
    assert find_task(name, lambda task: task is not None) is None


def test_a_function_within_a_class_is_not_found() -> None:
    assert dotted_name(Mailbox.empty) == f"{__name__}.Mailbox.empty"
    assert import_or_none(dotted_name(Mailbox.empty)) is None


def test_a_task_of_another_runner_is_not_found() -> None:
    name = dotted_name(thread_tasks.count)
    assert find_task(name, lambda task: task is thread_tasks.count) is thread_tasks.count
    assert find_task(name, lambda task: False) is None
