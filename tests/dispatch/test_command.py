"""`telltale.call_command`: management commands whose code knows nothing of Telltale are shown, with their output."""

import threading
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError
from django.db import connections
from django.test import RequestFactory

import telltale
from telltale import store
from telltale.dispatch.command import LINE_CHARS, ShownStream
from telltale.models import TaskState
from telltale.worker.tracker import Tracker
from tests.factories import person
from tests.worker.conftest import assert_eventually

pytestmark = pytest.mark.django_db(transaction=True)


def the_task() -> TaskState:
    return TaskState.objects.get()


def write_lines(**options: Any) -> str:
    """Run the test's command; returns its output."""
    out = StringIO()
    telltale.call_command("write_lines", stdout=out, stderr=out, **options)
    return out.getvalue()


def test_a_command_of_django_is_a_task_and_its_last_line_is_the_message() -> None:
    out, ada = StringIO(), person("ada")
    telltale.call_command("check", owner=ada, stdout=out, verbosity=1)
    task = the_task()
    assert (task.state, task.label, task.name, task.owner_topic) == (
        "succeeded",
        "Check",
        "check",
        f"user:{ada.pk}",
    )
    assert "no issues" in out.getvalue()
    assert task.snapshot.progress.message == out.getvalue().splitlines()[-1].strip()


def test_the_commands_return_value_is_returned() -> None:
    assert telltale.call_command("write_lines", stdout=StringIO()) == "3 lines"


def test_the_visitor_owns_a_command_that_a_view_runs_and_a_label_names_it() -> None:
    ada, request = person("ada"), RequestFactory().get("/")
    request.user = ada
    telltale.call_command("write_lines", owner=request, label="Count the lines", stdout=StringIO())
    assert (the_task().label, the_task().owner_topic) == ("Count the lines", f"user:{ada.pk}")


def test_arguments_are_passed_on_and_the_output_is_unchanged() -> None:
    shown, plain = StringIO(), StringIO()
    telltale.call_command("write_lines", "--lines", "2", "--verbosity=2", stdout=shown, stderr=shown)
    telltale.call_command("write_lines", lines=2, verbosity=2, stdout=plain, stderr=plain)
    assert shown.getvalue() == plain.getvalue()
    assert [line for line in plain.getvalue().splitlines() if "Detail" in line] == ["Detail 1", "Detail 2"]
    assert "Detail" not in write_lines(verbosity=1)


def test_without_given_streams_the_output_goes_to_those_of_the_process(capsys: Any) -> None:
    telltale.call_command("write_lines", verbosity=2, lines=1)
    assert "Line 1" in capsys.readouterr().out


def test_a_command_that_fails_is_a_failed_task_and_keeps_its_place_and_its_error() -> None:
    with pytest.raises(CommandError, match="Line 4 is missing"):
        write_lines(fail=True)
    task = the_task()
    assert (task.state, task.snapshot.progress.message) == ("failed", "Line 3")
    assert "CommandError: Line 4 is missing." in task.detail
    assert "Line 4" not in task.error


def test_an_unknown_command_is_the_error_of_django() -> None:
    with pytest.raises(CommandError, match="Unknown command: 'no_such'"):
        telltale.call_command("no_such")
    assert the_task().state == "failed"


def test_a_running_command_shows_its_line_and_stops_at_the_next_one_after_a_cancellation() -> None:
    errors: list[BaseException] = []

    def run() -> None:
        try:
            write_lines(endless=True)
        except telltale.Cancelled as error:
            errors.append(error)
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert_eventually(lambda: [t.snapshot.progress.message for t in store.task_rows()] == ["Still writing"])
    finally:
        assert_eventually(lambda: TaskState.objects.exists())
        telltale.cancel(the_task())
        thread.join(30)
    assert (len(errors), the_task().state) == (1, "cancelled")


def test_a_cancellation_waits_while_no_cancel_says_so() -> None:
    with telltale.track("Outer") as task, telltale.no_cancel("The lines are being written"):
        task.request_cancel()
        assert write_lines(lines=2).startswith("Line 1\nLine 2")


def test_inside_a_run_the_lines_are_the_message_of_that_run() -> None:
    with telltale.track("Outer") as task:
        write_lines(lines=2)
        assert task.message == "2 lines"
    assert the_task().label == "Outer"


def test_inside_a_run_a_label_makes_a_stage_of_the_command() -> None:
    stages = []

    class Watched(StringIO):
        def write(self, text: str) -> int:
            stages.append(telltale.current().sample().stage)
            return super().write(text)

    with telltale.track("Outer") as task:
        telltale.call_command("write_lines", label="Lines", stdout=Watched())
        assert task.sample().stage == ""
    assert set(stages) == {"Lines"}
    assert TaskState.objects.count() == 1


def test_the_figures_of_a_command_that_uses_progress_are_shown_too() -> None:
    with telltale.track("Outer") as task:
        write_lines(lines=2)
        assert (task.sample().current, task.sample().total) == (2, 2)


# Lines


def shown(*texts: str) -> str:
    """The message after these texts were written."""
    tracker = Tracker()
    stream = ShownStream(StringIO(), tracker)
    for text in texts:
        stream.write(text)
    return tracker.message


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["one\ntwo\n"], "two"),
        (["one\n", "\n", "  \n", "...", "..\n"], "one"),
        (["Applying 0001..."], "Applying 0001..."),
        (["Applying 0001...", " OK\n"], "Applying 0001... OK"),
        (["10 %\r", "20 %\r"], "20 %"),
        (["\x1b[32;1mDone\x1b[0m\n"], "Done"),
        (["x" * 400] * 1000, "x" * LINE_CHARS),
    ],
)
def test_the_message_is_the_newest_line_that_has_text(texts: list[str], message: str) -> None:
    assert shown(*texts) == message


def test_a_line_that_another_thread_writes_is_shown_and_does_not_end_that_thread() -> None:
    tracker = Tracker()
    stream = ShownStream(StringIO(), tracker)
    tracker.request_cancel()
    thread = threading.Thread(target=stream.write, args=["from a pool\n"])
    thread.start()
    thread.join()
    assert tracker.message == "from a pool"
    with pytest.raises(telltale.Cancelled):
        stream.write("from the command\n")
