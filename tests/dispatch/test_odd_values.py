"""Values that a database can't hold, and objects that can't be converted: no publisher and no task fails of them.

PostgreSQL holds neither NUL nor half of a surrogate pair, which JSON allows.
"""

import json
import logging
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

import telltale
from telltale import store
from telltale.core.states import State
from telltale.dispatch.control import retry
from telltale.dispatch.rows import create_row_unless_there
from telltale.dispatch.runner import Call
from telltale.models import TaskState
from telltale.store.calls import call_arguments, call_to_json
from telltale.testing.runners import logged_lines, reload, wait_for_end
from telltale.worker.run import Verdict, run_attempt
from tests.app import thread_tasks
from tests.runners.workers import ThreadWorker

pytestmark = pytest.mark.django_db(transaction=True)

ODD_TEXTS = ["a\0b", "\ud800", "\udfff\0", "\\u0000"]
TEXTS = st.text(st.characters() | st.sampled_from(["\0", "\ud800", "\udc00", "\\", "u"]), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda values: st.lists(values, max_size=3) | st.dictionaries(TEXTS, values, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize("text", ODD_TEXTS, ids=ascii)
def test_f44_a_task_with_any_text_is_queued_runs_and_can_be_retried(
    thread_worker: ThreadWorker, tmp_path: Path, text: str
) -> None:
    row = telltale.enqueue(thread_tasks.log_argument, str(tmp_path / "log"), {text: [text]}, label=text)
    thread_worker.start()
    assert wait_for_end(row).state == State.FAILED
    assert retry(reload(row)).attempt == 2
    assert wait_for_end(row).error == "once"
    assert logged_lines(tmp_path) == [json.dumps({text: [text]}).replace(" ", "")] * 2


@hypothesis_settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(args=st.lists(VALUES, max_size=3), kwargs=st.dictionaries(TEXTS, VALUES, max_size=2))
def test_any_arguments_that_json_allows_are_stored_and_read_back(args: list[Any], kwargs: dict[str, Any]) -> None:
    row = store.queue(runner="test", name="work", args=args, kwargs=kwargs).task
    row.refresh_from_db()
    assert call_arguments(row.call) == (args, kwargs)


def test_plain_arguments_are_stored_as_they_are() -> None:
    assert call_to_json(("é 😀", 7), {"a": None}) == {"args": ["é 😀", 7], "kwargs": {"a": None}}
    assert call_arguments(call_to_json(None, {})) is None


@pytest.mark.parametrize("text", ODD_TEXTS, ids=ascii)
def test_a_runners_own_call_with_any_text_has_a_row(text: str) -> None:
    create_row_unless_there(Call(runner="test", runner_id="1", name="work", args=[text], kwargs={"a": text}))
    assert call_arguments(TaskState.objects.get().call) == ([text], {"a": text})


@pytest.mark.parametrize("text", ODD_TEXTS, ids=ascii)
def test_a_key_of_any_text_joins_the_open_task(text: str) -> None:
    first = store.queue(runner="test", name="work", key=text)
    second = store.queue(runner="test", name="work", key=text)
    assert (second.task.pk, second.joined) == (first.task.pk, True)


class Unreadable:
    """An object that can't be converted to text, compared or measured."""

    def __str__(self) -> str:
        raise RuntimeError("unreadable")

    __repr__ = __len__ = __eq__ = __hash__ = __bool__ = __str__  # type: ignore[assignment]


ODD_OBJECTS = [Unreadable(), float("nan"), -1, 10**400, "\0\ud800", b"bytes", object(), [], 1j]


@pytest.mark.parametrize("value", ODD_OBJECTS, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("name", ["current", "total", "unit", "message", "label", "no_cancel", "result"])
def test_a_task_that_sets_any_object_ends_as_it_would_without_telltale(name: str, value: Any) -> None:
    task = store.queue(runner="test", name="work").task
    with run_attempt(task_id=task.pk) as tracker:
        setattr(tracker, name, value)
    assert reload(task).state == State.SUCCEEDED


def test_an_error_that_cannot_be_read_reaches_the_runner() -> None:
    task = store.queue(runner="test", name="work").task
    with pytest.raises(telltale.TaskError), run_attempt(task_id=task.pk):
        raise telltale.TaskError(Unreadable())
    assert reload(task).state == State.FAILED


@pytest.mark.parametrize("is_logged_in_detail", [False, True], ids=["plain", "with a logging handler that formats"])
def test_an_error_that_python_cannot_format_reaches_the_runner_and_its_detail_says_where(
    is_logged_in_detail: bool,
) -> None:
    task = store.queue(runner="test", name="work").task
    error = SyntaxError("expected a name", ("report.tpl", 7, "no offset", "{{ }}"))
    handler = logging.StreamHandler(StringIO())
    if is_logged_in_detail:
        logging.getLogger("telltale").addHandler(handler)
    try:
        with run_attempt(task_id=task.pk):
            raise error
    except BaseException as raised:
        is_same = raised is error  # Not by `pytest.raises`, which would format it.
    finally:
        logging.getLogger("telltale").removeHandler(handler)
    row = reload(task)
    assert (is_same, row.state) == (True, State.FAILED)
    assert __file__ in row.detail
    assert row.detail.endswith("builtins.SyntaxError")


def test_a_runner_that_cannot_say_how_a_run_ends_does_not_replace_its_error() -> None:
    def broken(error: BaseException) -> Verdict | None:
        raise RuntimeError("the site's hook")

    task = store.queue(runner="test", name="work").task
    with pytest.raises(ZeroDivisionError), run_attempt(task_id=task.pk, verdict=broken):
        raise ZeroDivisionError
    assert reload(task).state == State.FAILED


def test_a_runner_that_cannot_describe_its_call_does_not_stop_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: object) -> Call | None:
        raise RuntimeError("a forged message")

    monkeypatch.setattr("telltale.runners.threads.ThreadRunner.current_call", broken)
    with pytest.raises(telltale.TaskError, match="once"):
        thread_tasks.log_argument("/dev/null", 1)
