"""`telltale watch`: the newest state of tasks in a terminal or a pipe, and an exit code that says how a task ended."""

import io
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connections

from telltale import brokers, conf
from telltale.core.health import health
from telltale.core.snapshot import Snapshot
from telltale.core.states import State
from telltale.core.topics import task_topic
from telltale.core.wire import Envelope
from telltale.management.watch import command
from telltale.management.watch.bars import Bars
from telltale.management.watch.command import view_for, watch
from telltale.management.watch.feed import MOST, Selection
from telltale.management.watch.lines import Lines
from telltale.messages import announce
from telltale.models import TaskState
from telltale.pages.task_text import describe
from tests.factories import ended, moved, person, started, task_of
from tests.servers import ROOT
from tests.transports.sites import environment, wait_until

pytestmark = pytest.mark.django_db(transaction=True)

RARELY = 3_600.0
"""A pace of re-reads at which nothing is read again in a test."""


def watched(*arguments: str) -> str:
    """Run the command, which must end with success; return its output."""
    out = io.StringIO()
    call_command("telltale", "watch", *arguments, stdout=out)
    return out.getvalue()


class Watching:
    """`watch` in a thread, with the lines that it has written."""

    def __init__(self, selection: Selection) -> None:
        self.lines: list[str] = []
        self.code: int | None = None
        self._selection = selection
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        view = Lines(self._write, with_ids=self._selection.task_id is None)
        try:
            self.code = watch(self._selection, view)
        except Stop:
            pass
        finally:
            connections.close_all()

    def _write(self, line: str) -> None:
        self.lines.append(line)

    def saw(self, pattern: str) -> None:
        """Wait until a line has this pattern."""
        wait_until(lambda: any(re.search(pattern, line) for line in list(self.lines)), f"a line has {pattern!r}")

    def join(self) -> int | None:
        self._thread.join(60)
        assert not self._thread.is_alive(), self.lines
        return self.code


class Stop(BaseException):
    """Ends `watch` in a thread, where no Ctrl-C arrives."""


@contextmanager
def watching(selection: Selection, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watching]:
    """Watch in a thread; a list is stopped at the end."""
    is_over = threading.Event()
    store_now = command.store.now

    def now_or_stop() -> float:
        if is_over.is_set():
            raise Stop
        return store_now()

    monkeypatch.setattr(command.store, "now", now_or_stop)
    running = Watching(selection)
    try:
        yield running
    finally:
        if selection.task_id is None:
            is_over.set()
        running.join()
        brokers.reset()


# One task


def test_a_task_that_has_succeeded_is_shown_and_the_command_ends_with_0() -> None:
    task = task_of()
    ended(started(task))
    assert re.fullmatch(r"Import airports: Done · took .+\n", watched(str(task.pk)))


@pytest.mark.parametrize("state", [State.FAILED, State.CANCELLED, State.LOST])
def test_a_task_that_ended_in_any_other_way_ends_the_command_with_1(state: State) -> None:
    task, out = task_of(), io.StringIO()
    ended(started(task), state)
    with pytest.raises(SystemExit) as exited:
        call_command("telltale", "watch", str(task.pk), stdout=out)
    assert exited.value.code == 1
    assert len(out.getvalue().splitlines()) == 1


def test_what_the_broker_carries_is_shown_without_another_read(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.TELLTALE = {"BROKER": "memory://", "RECHECK_S": RARELY}
    task = task_of()
    with watching(Selection(task_id=task.pk), monkeypatch) as running:
        running.saw("Waiting to start")
        claim = started(task)
        moved(claim, 0.5, seq=1)
        running.saw("50% · Working · 50 of 100")
        ended(claim)
    assert running.join() == 0
    assert "Done" in running.lines[-1]


@pytest.mark.parametrize("broker", ["none://", "redis://127.0.0.1:1/0"])
def test_without_a_working_broker_the_store_is_read_again(
    settings: Any, monkeypatch: pytest.MonkeyPatch, broker: str
) -> None:
    settings.TELLTALE = {"BROKER": broker, "RECHECK_S": 0.5}
    task = task_of()
    with watching(Selection(task_id=task.pk), monkeypatch) as running:
        running.saw("Waiting to start")
        ended(started(task), State.FAILED)
    assert running.join() == 1


def test_the_store_is_read_again_when_the_broker_has_missed_messages(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.TELLTALE = {"BROKER": "memory://", "RECHECK_S": RARELY}
    task = task_of()
    with watching(Selection(task_id=task.pk), monkeypatch) as running:
        running.saw("Waiting to start")
        # Ended without a word to the broker.
        command.store.end(started(task).id, 1, State.SUCCEEDED)
        for listener in brokers.broker()._listeners:
            listener._callbacks.report_missed()
    assert running.join() == 0


def test_s47_a_forged_attempt_is_taken_back_by_the_next_read(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.TELLTALE = {"BROKER": "memory://", "RECHECK_S": 0.5}
    task = task_of()
    with watching(Selection(task_id=task.pk), monkeypatch) as running:
        running.saw("Import airports: Waiting to start")
        forged = Snapshot(id=str(task.pk), attempt=10**9, seq=0, state=State.RETRYING, label="Forged")
        announce([Envelope(topics=(task_topic(task.pk),), snapshot=forged)])
        running.saw("Forged: ")
        wait_until(lambda: "Import airports: Waiting to start" in running.lines[-1], "the forgery is taken back")
        ended(started(task))
    assert running.join() == 0


def test_s47_an_end_on_a_shared_broker_without_signatures_is_shown_only_if_the_store_has_it(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.TELLTALE = {"BROKER": "telltale.brokers.memory.MemoryBroker", "RECHECK_S": RARELY}
    task = task_of()
    with watching(Selection(task_id=task.pk), monkeypatch) as running:
        running.saw("Waiting to start")
        forged = Snapshot(id=str(task.pk), attempt=1, seq=10**6, state=State.SUCCEEDED)
        announce([Envelope(topics=(task_topic(task.pk),), snapshot=forged)])
        ended(started(task), State.FAILED)
    assert running.join() == 1


def test_a_task_that_is_deleted_while_it_is_watched_is_an_error(settings: Any) -> None:
    task = task_of()
    selection = Selection(task_id=task.pk)
    TaskState.objects.all().delete()
    with pytest.raises(CommandError, match=f"The task {task.pk} was deleted"):
        watch(selection, Lines(lambda line: None, with_ids=False))


def test_the_words_are_those_of_the_pages() -> None:
    task = task_of()
    claim = started(task)
    snapshot = moved(claim, 0.25, seq=1)
    lines: list[str] = []
    now = (snapshot.beat_at or 0.0) + 50.0  # Longer than STALLED_S.
    Lines(lines.append, with_ids=False).show([snapshot], now=now)
    text = describe(snapshot, health(snapshot, now=now, limits=conf.settings().limits), now=now)
    assert lines == [f"Import airports: 25% · {text.status} · {text.detail}"]
    assert text.status == "Lost contact with the worker. It may recover."


def test_progress_within_a_few_seconds_writes_no_further_line_and_a_change_of_state_does() -> None:
    claim = started(task_of())
    lines: list[str] = []
    view = Lines(lines.append, with_ids=False)
    for seq in range(1, 40):
        snapshot = moved(claim, seq / 100, seq=seq)
        view.show([snapshot], now=snapshot.beat_at or 0.0)
    assert len(lines) < 10
    ended(claim)
    [envelope] = command.store.read_tasks([claim.id])
    assert envelope.snapshot is not None
    view.show([envelope.snapshot], now=command.store.now())
    assert "Done" in lines[-1]


def test_s27_codes_that_a_terminal_would_obey_are_not_written() -> None:
    task = task_of(label="\x9b31mred\u202etxt\nsecond line [bold]x[/bold]")
    ended(started(task), State.FAILED, error="\u009b2Jcleared")
    with pytest.raises(SystemExit):
        call_command("telltale", "watch", str(task.pk), stdout=(out := io.StringIO()))
    assert not {"\x9b", "\x1b", "\u202e"} & set(out.getvalue())
    assert len(out.getvalue().splitlines()) == 1


# Lists


def test_a_list_shows_unfinished_tasks_of_all_with_their_ids_until_it_is_stopped(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.TELLTALE = {"BROKER": "memory://"}
    ended(started(task_of(label="Earlier")))
    first = task_of(label="First")
    with watching(Selection(), monkeypatch) as running:
        running.saw(f"{first.pk} First: Waiting to start")
        second = task_of(label="Second")
        running.saw(f"{second.pk} Second: Waiting to start")
        ended(started(first))
        running.saw(f"{first.pk} First: Done")
    assert not any("Earlier" in line for line in running.lines)


def test_mine_shows_the_tasks_of_that_user_alone(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ada, bob = person("ada"), person("bob")
    task_of(bob, label="Bob's")
    task_of(ada, label="Ada's")
    for name in ("ada", str(ada.pk)):
        selection = command.selection_of(id=None, mine=name, limit=20)
        assert selection.user_id == ada.pk
    with watching(selection, monkeypatch) as running:
        running.saw("Ada's")
    assert not any("Bob's" in line for line in running.lines)


def test_the_number_of_watched_tasks_is_bounded_and_newer_ones_take_the_place_of_older_ones() -> None:
    tasks = [task_of(label=f"Task {number}") for number in range(9)]
    feed = command.TaskFeed(Selection(limit=3))

    def shown() -> list[str]:
        feed._read_at = 0.0
        feed.refresh()
        return [snapshot.id for snapshot in feed.snapshots()]

    try:
        newest = sorted(tasks, key=lambda task: -task.created_at)
        assert shown() == [str(task.pk) for task in newest[:3]]
        newer = task_of(label="Newer")
        assert shown() == [str(task.pk) for task in (newer, *newest[:2])]
        for task in (newer, *newest[:8]):
            ended(started(task))
            shown()
        assert len(shown()) == 6  # Nine have ended just now.
    finally:
        feed.close()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["7"], "'7' is no task's id, which is a UUID"),
        (["00000000-0000-0000-0000-000000000007"], "No task has the id 00000000-0000-0000-0000-000000000007"),
        (["--mine", "nemo"], "No user has the name or the key 'nemo'"),
        (["--limit", "0"], f"'0' is no number from 1 to {MOST}"),
        (["--limit", "51"], f"'51' is no number from 1 to {MOST}"),
        (["--all", "--mine", "ada"], "not allowed with"),
    ],
)
def test_a_wrong_argument_is_named_with_the_rule(arguments: list[str], problem: str) -> None:
    with pytest.raises(CommandError) as raised:
        call_command("telltale", "watch", *arguments)
    assert problem in str(raised.value)


# The view


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_has_bars_and_everything_else_has_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")

    def kind(stream: io.StringIO, *, is_plain: bool = False) -> type:
        view = view_for(stream, with_ids=False, is_plain=is_plain)
        view.close()
        return type(view)

    assert kind(Terminal()) is Bars
    assert kind(Terminal(), is_plain=True) is Lines
    assert kind(io.StringIO()) is Lines
    monkeypatch.setenv("TERM", "dumb")
    assert kind(Terminal()) is Lines
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setitem(sys.modules, "rich", None)
    assert kind(Terminal()) is Lines


def run(*arguments: str, **streams: Any) -> "subprocess.Popen[str]":
    """The command in a process of its own."""
    words = [sys.executable, "-W", "ignore", "-m", "django", "telltale", "watch", *arguments]
    env = {**os.environ, **environment(), "TERM": "xterm"}
    # Where tests run in the background, a shell has made their processes ignore Ctrl-C.
    return subprocess.Popen(words, env=env, cwd=ROOT, text=True, preexec_fn=_heed_ctrl_c, **streams)


def _heed_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Screen:
    """The output of a process at a pseudo-terminal, read by a thread until the process closes it."""

    def __init__(self) -> None:
        self._master, self.end = pty.openpty()
        termios.tcsetwinsize(self.end, (24, 120))
        self.text = ""
        self._thread = threading.Thread(target=self._read, daemon=True)

    def start(self) -> None:
        os.close(self.end)
        self._thread.start()

    def finish(self) -> str:
        self._thread.join(60)
        os.close(self._master)
        return self.text

    def _read(self) -> None:
        try:
            while data := os.read(self._master, 65_536):
                self.text += data.decode("utf-8", "replace")
        except OSError:
            pass  # On Linux, the end of a pseudo-terminal is an error.


@pytest.fixture
def on_screen() -> Callable[..., tuple["subprocess.Popen[str]", Screen]]:
    """Starts the command at a pseudo-terminal."""

    def start(*arguments: str) -> tuple["subprocess.Popen[str]", Screen]:
        screen = Screen()
        process = run(*arguments, stdin=screen.end, stdout=screen.end, stderr=screen.end)
        screen.start()
        return process, screen

    return start


@pytest.mark.service
def test_at_a_terminal_bars_are_drawn_in_place_and_the_terminal_is_left_as_it_was(on_screen: Any) -> None:
    task = task_of()
    claim = started(task)
    moved(claim, 0.5, seq=1)
    process, screen = on_screen(str(task.pk))
    try:
        wait_until(lambda: "50%" in screen.text, "the bar is drawn")
        ended(claim)
        assert process.wait(60) == 0
    finally:
        process.kill()
        text = screen.finish()
    assert "━" in text
    assert "\x1b[?25l" in text  # The cursor is hidden,
    assert text.rfind("\x1b[?25h") > text.rfind("\x1b[?25l")  # and shown again.
    assert "Done" in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).splitlines()[-1]


@pytest.mark.service
def test_ctrl_c_ends_without_a_traceback_and_with_the_code_of_shells() -> None:
    task = task_of()
    process = run(str(task.pk), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("Import airports: ")
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "")
    assert "\x1b" not in out


@pytest.mark.service
def test_a_reader_that_has_seen_enough_ends_the_command_without_a_traceback() -> None:
    task = task_of()
    process = run(str(task.pk), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    ended(started(task))
    assert process.wait(60) == 1
    assert process.stderr.read() == ""
    process.stderr.close()
