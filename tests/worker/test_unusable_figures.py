"""Figures that can't be shown: the log names them once for each task name, with the mend."""

from decimal import Decimal
from typing import Any

import pytest

from telltale.worker import unusable_figures
from telltale.worker.run import run_attempt

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def nothing_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unusable_figures, "_logged", set())


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == unusable_figures.__name__]


@pytest.mark.parametrize("value", ["7 of 9", float("nan"), -3, [1]], ids=repr)
def test_each_is_logged_once_for_each_task_name_with_the_mend(
    queue: Any, caplog: pytest.LogCaptureFixture, value: Any
) -> None:
    for name in ("shop.import", "shop.import", "shop.export"):
        with run_attempt(task_id=queue(name=name).pk) as tracker:
            tracker.total = value
    first, second = logged(caplog)
    assert first.startswith(f"The task shop.import sets total to {value!r}, which can't be shown: give a number")
    assert "shop.export" in second


def test_what_can_be_converted_or_is_not_set_is_not_logged(queue: Any, caplog: pytest.LogCaptureFixture) -> None:
    task = queue()
    with run_attempt(task_id=task.pk) as tracker:
        tracker.current, tracker.total = Decimal("2.5"), None
    assert logged(caplog) == []
    task.refresh_from_db()
    assert task.progress["current"] == 2.5


def test_names_that_differ_in_each_run_fill_no_memory(queue: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unusable_figures, "MAX_LOGGED", 3)
    for number in range(5):
        with run_attempt(task_id=queue(name=f"Import {number}").pk) as tracker:
            tracker.current = "x"
    assert len(unusable_figures._logged) == 3
