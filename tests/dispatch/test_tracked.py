"""`@telltale.tracked`: what it keeps of a function, and what it does within a run."""

import inspect
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connections

import telltale
from telltale.core.labels import label_from_name
from telltale.core.states import State
from telltale.dispatch.runner import options_of
from telltale.models import TaskState
from telltale.testing.runners import logged_lines, wait_for_end
from tests.app import thread_tasks
from tests.runners.workers import ThreadWorker


def number_of(number: int, *, twice: bool = False) -> int:
    """Return a number."""
    return number * 2 if twice else number


async def number_of_async(number: int) -> int:
    return number


def test_a_function_keeps_its_name_module_docstring_and_signature() -> None:
    wrapped = telltale.tracked(number_of)
    assert (wrapped.__module__, wrapped.__qualname__, wrapped.__doc__) == (__name__, "number_of", "Return a number.")
    assert inspect.signature(wrapped) == inspect.signature(number_of)


def test_outside_a_run_the_function_runs_without_a_row() -> None:
    assert telltale.tracked(number_of)(3, twice=True) == 6
    assert telltale.tracked(label="Number")(number_of)(3) == 3


async def _call(function: Any) -> Any:
    return await function(4)


def test_an_async_function_stays_async() -> None:
    from asgiref.sync import async_to_sync

    wrapped = telltale.tracked(number_of_async)
    assert inspect.iscoroutinefunction(wrapped)
    assert async_to_sync(_call)(wrapped) == 4


@pytest.mark.parametrize(
    ("name", "label"), [("import_contacts", "Import contacts"), ("run", "Run"), ("_hidden", "Hidden"), ("_", "_")]
)
def test_the_default_label_is_made_from_the_functions_name(name: str, label: str) -> None:
    assert label_from_name(name) == label


def test_the_options_have_the_label_and_the_key() -> None:
    options = options_of(telltale.tracked(label="Import", key=str)(number_of))
    assert options is not None
    assert (options.label, options.key) == ("Import", str)


def test_above_the_runners_decorator_it_is_an_error_that_says_where_it_belongs() -> None:
    with pytest.raises(TypeError, match="beneath the runner's own decorator"):
        telltale.tracked(partial(number_of, 1))


def test_a_function_that_is_tracked_twice_is_an_error() -> None:
    with pytest.raises(TypeError, match="tracked twice"):
        telltale.tracked(telltale.tracked(number_of))


@pytest.mark.django_db(transaction=True)
def test_a_task_that_calls_itself_is_a_single_run(thread_worker: ThreadWorker, tmp_path: Path) -> None:
    row = telltale.enqueue(thread_tasks.calls_itself, str(tmp_path / "log"), 2)
    thread_worker.start()
    ended = wait_for_end(row)
    assert (ended.state, ended.attempt) == (State.SUCCEEDED, 1)
    assert logged_lines(tmp_path) == ["depth-2", "depth-1", "depth-0"]
    assert TaskState.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_tracked_function_called_by_a_task_is_part_of_it(thread_worker: ThreadWorker, tmp_path: Path) -> None:
    row = telltale.enqueue(thread_tasks.calls_another, str(tmp_path / "log"))
    thread_worker.start()
    assert wait_for_end(row).state == State.SUCCEEDED
    assert logged_lines(tmp_path) == ["count", "count"]
    assert TaskState.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_an_async_task_reports_progress_and_ends(thread_worker: ThreadWorker, tmp_path: Path) -> None:
    row = telltale.enqueue(thread_tasks.count_numbers, str(tmp_path / "log"), 7)
    thread_worker.start()
    ended = wait_for_end(row)
    assert (ended.state, ended.snapshot.progress.current) == (State.SUCCEEDED, 7)
    assert logged_lines(tmp_path) == ["count_numbers"]


@pytest.mark.django_db(transaction=True)
def test_work_in_a_thread_without_a_runner_can_be_tracked() -> None:
    ada = User.objects.create_user("ada")

    def rebuild() -> None:
        with telltale.track("Rebuild the index", owner=ada) as task:
            task.current, task.total = 3, 4
        connections.close_all()

    thread = threading.Thread(target=rebuild)
    thread.start()
    thread.join(20)
    row = TaskState.objects.get()
    assert (row.state, row.label, row.owner, row.runner) == (State.SUCCEEDED, "Rebuild the index", ada, "track")
    assert row.snapshot.progress.total == 4
