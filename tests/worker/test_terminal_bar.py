"""A loop over `telltale.progress` in a management command has a bar at a terminal, and costs nothing elsewhere."""

import io
import multiprocessing
import os
import pty
import re
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.core.management.base import BaseCommand
from django.test import RequestFactory

import telltale
from telltale.core.snapshot import Progress
from telltale.worker import loops, terminal_bar
from telltale.worker.run import run_attempt
from telltale.worker.terminal_bar import Bar
from telltale.worker.terminal_line import Figures, plain_line, renderer
from tests.app.management.commands import count_rows
from tests.servers import ROOT
from tests.transports.sites import wait_until


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True

    @property
    def screen(self) -> list[str]:
        """The lines as they are seen: each carriage return begins the line again."""
        lines = []
        for line in re.sub(r"\x1b\[[0-9;]*m", "", self.getvalue()).split("\n"):
            seen = ""
            for part in line.split("\r"):
                seen = part + seen[len(part) :]
            lines.append(seen.rstrip())
        return lines


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    """Stands for stdout and stderr of the commands that a test runs; bars are drawn from the beginning of a loop."""
    monkeypatch.setattr(terminal_bar, "FIRST_AFTER_S", 0.0)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    yield Terminal()
    terminal_bar._drawing.get().close()


@contextmanager
def at(terminal: Terminal) -> Iterator[None]:
    """Within it, stdout and stderr are the terminal; they are the same at its end. (pytest sets its own for a test.)"""
    with redirect_stdout(terminal), redirect_stderr(terminal):
        yield
        terminal_bar._drawing.get().close()
        assert (sys.stdout, sys.stderr) == (terminal, terminal)


Pause = Callable[[BaseCommand], object]


@pytest.fixture
def count(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Returns a function that runs the command at the terminal."""

    def run(pause: Pause | None = None, **options: Any) -> None:
        monkeypatch.setattr(count_rows.Command, "pause", staticmethod(pause) if pause else None)
        with at(terminal):
            call_command(count_rows.Command(), **options)

    return run


def is_drawn(terminal: Terminal, text: str) -> Pause:
    """A pause that waits until the bar is drawn with this text."""
    return lambda _command: wait_until(lambda: text in terminal.getvalue(), f"the bar has {text!r}")


def test_the_bar_is_drawn_while_the_loop_runs_and_the_commands_lines_stand_above_it(
    terminal: Terminal, count: Any
) -> None:
    count(is_drawn(terminal, "2 of 4 rows"))
    *lines, bar, last, end = terminal.screen
    assert lines == ["Row 0", "Row 1", "Row 2", "Row 3"]
    assert re.match(r"Reading ━+ 100% 4 of 4 rows · 0:0\d", bar)
    assert (last, end) == ("Counted", "")


def test_a_coroutine_has_a_bar_too(terminal: Terminal, count: Any) -> None:
    count(is_drawn(terminal, "2 of 4 rows"), asynchronous=True)
    assert "4 of 4 rows" in terminal.screen[-3]
    assert terminal.screen[-2:] == ["Counted", ""]


@pytest.mark.django_db(transaction=True)
def test_a_tracked_command_has_a_bar_too(terminal: Terminal, count: Any) -> None:
    count(is_drawn(terminal, "2 of 4 rows"), track=True)
    assert "4 of 4 rows" in terminal.screen[-3]


def test_without_rich_the_bar_is_of_plain_characters(
    terminal: Terminal, count: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rich", None)
    count(is_drawn(terminal, "2 of 4 rows"))
    assert "\x1b" not in terminal.getvalue()
    assert re.match(r"Reading \[#{30}\] 100% 4 of 4 rows · 0:0\d", terminal.screen[-3])


@pytest.mark.parametrize("options", [{"no_color": True}, {"verbosity": 0}])
def test_no_color_and_verbosity_0_draw_no_bar(terminal: Terminal, options: dict[str, Any]) -> None:
    loop = returned_by_progress(terminal, **options)
    assert type(loop) is range


def test_without_a_terminal_the_iterable_itself_is_returned(terminal: Terminal) -> None:
    with redirect_stderr(io.StringIO()):
        assert type(returned_in(Returns(lambda: telltale.progress(range(4))))) is range
    assert type(returned_by_progress(terminal, stderr=io.StringIO())) is range
    assert type(returned_by_progress(terminal)) is not range


def returned_in(command: "Returns") -> Any:
    call_command(command)
    return command.returned


class Returns(BaseCommand):
    """A command that calls a function."""

    def __init__(self, call: Callable[[], object], **options: Any) -> None:
        super().__init__(**options)
        self.call = call
        self.returned: Any = None

    def handle(self, *args: Any, **options: Any) -> None:
        self.returned = self.call()


def in_command(terminal: Terminal, call: Callable[[], object], **options: Any) -> Any:
    """Return what `call` returns within a command at the terminal."""
    with at(terminal):
        command = Returns(call)
        call_command(command, **options)
    return command.returned


def returned_by_progress(terminal: Terminal, **options: Any) -> Any:
    return in_command(terminal, lambda: telltale.progress(range(4)), **options)


def test_outside_of_commands_there_is_no_bar(terminal: Terminal) -> None:
    assert type(telltale.progress(range(4))) is range


def test_a_request_that_a_command_serves_has_no_bar(terminal: Terminal, settings: Any) -> None:
    from django.core.handlers.base import BaseHandler

    seen = []

    class Handler(BaseHandler):
        def resolve_request(self, request: Any) -> Any:
            seen.append(telltale.progress(range(4)))
            raise SystemExit

    handler = Handler()
    settings.MIDDLEWARE = []
    handler.load_middleware()
    with suppress(SystemExit):
        in_command(terminal, lambda: handler.get_response(RequestFactory().get("/")))
    assert list(map(type, seen)) == [range]


def test_a_command_in_another_thread_than_the_main_one_has_no_bar(terminal: Terminal) -> None:
    with at(terminal):
        command = Returns(lambda: telltale.progress(range(4)))
        thread = threading.Thread(target=call_command, args=[command])
        thread.start()
        thread.join()
    assert type(command.returned) is range


@pytest.mark.django_db(transaction=True)
def test_a_worker_that_is_a_command_draws_no_bar_for_its_tasks(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[Bar] = []
    monkeypatch.setattr(Bar, "begin", lambda bar, loop: begun.append(bar))

    def run(runner: str | None) -> None:
        with run_attempt(runner=runner, runner_id="7" if runner else None):
            list(telltale.progress(range(4)))

    in_command(terminal, lambda: run("rq"))
    assert begun == []
    in_command(terminal, lambda: run(None))
    assert len(begun) == 1


def test_a_loop_within_a_loop_has_no_bar_of_its_own_and_the_next_one_has(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner: list[object] = []
    monkeypatch.setattr(Bar, "draw", lambda bar: None)

    def nest() -> None:
        for _ in telltale.progress(range(2)):
            inner.append(telltale.progress(range(3)))  # noqa: PERF401 (a comprehension would be the loop)
        inner.append(telltale.progress(range(3)))

    in_command(terminal, nest)
    assert [type(loop) is range for loop in inner] == [True, True, False]


def test_a_loop_that_was_left_early_gives_the_terminal_to_the_next_one(terminal: Terminal) -> None:
    def leave() -> None:
        kept = telltale.progress(range(4), message="First")
        for _ in kept:
            wait_until(lambda: "First" in terminal.getvalue(), "the first bar is drawn")
            break
        for _ in telltale.progress(range(4), message="Second"):
            wait_until(lambda: "Second" in terminal.getvalue(), "the second bar is drawn")
        sys.stdout.write("End\n")

    in_command(terminal, leave)
    assert [line.split(" ")[0] for line in terminal.screen] == ["First", "Second", "End", ""]


def test_a_short_loop_draws_nothing(terminal: Terminal, count: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal_bar, "FIRST_AFTER_S", 3_600.0)
    count()
    assert terminal.screen == ["Row 0", "Row 1", "Row 2", "Row 3", "Counted", ""]


def test_a_command_that_fails_leaves_the_streams_as_they_were(terminal: Terminal, count: Any) -> None:
    with pytest.raises(CommandError):
        count(is_drawn(terminal, "2 of 4 rows"), fail=True)
    assert "2 of 4 rows" in terminal.screen[-2]


def test_a_print_in_several_parts_stays_in_one_line(terminal: Terminal, count: Any) -> None:
    def pause(command: BaseCommand) -> None:
        is_drawn(terminal, "2 of 4 rows")(command)
        bar = terminal_bar._drawing.get().bar
        assert bar is not None
        sys.stdout.write("Half ")
        bar.draw()
        sys.stdout.write("whole\n")

    count(pause)
    assert "Half whole" in terminal.screen


def test_a_child_process_prints_without_the_bar_of_its_parent(terminal: Terminal, count: Any) -> None:
    codes = []

    def pause(command: BaseCommand) -> None:
        is_drawn(terminal, "2 of 4 rows")(command)
        bar = terminal_bar._drawing.get().bar
        assert bar is not None
        with bar._lock:  # As if the fork came while it is drawn.
            child = multiprocessing.get_context("fork").Process(target=_print_as_child, args=[terminal])
            child.start()
        child.join(60)
        codes.append(child.exitcode)

    count(pause)
    assert codes == [0]


def _print_as_child(terminal: Terminal) -> None:
    sys.stdout.write("From the child\n")
    os._exit(0 if sys.stdout is terminal else 1)


def test_texts_that_a_terminal_would_obey_are_not_drawn() -> None:
    figures = Figures(Progress(fraction=0.5, current=1, total=2, message="\x1b[2J\x9b31mred\nline"), 1.0, None)
    assert plain_line(figures, 120).startswith(" [2J 31mred line [" + "#" * 15 + "-" * 15 + "]  50% 1 of 2")
    drawn = renderer(has_colours=True)(figures, 120)
    assert "\x1b[2J" not in drawn
    assert "\n" not in drawn


@pytest.mark.parametrize("columns", [20, 40, 79, 200])
@pytest.mark.parametrize("fraction", [None, 0.0, 0.5, 1.0])
def test_a_line_is_never_wider_than_the_terminal(columns: int, fraction: float | None) -> None:
    progress = Progress(fraction=fraction, current=12_400, total=None, unit="rows", message="Reading a long file " * 5)
    for make in (plain_line, renderer(has_colours=True)):
        line = re.sub(r"\x1b\[[0-9;]*m", "", make(Figures(progress, 4_000.0, 30.0), columns))
        assert len(line) <= columns
        assert "\n" not in line


def test_an_iteration_of_a_loop_with_a_bar_runs_the_code_of_any_other_loop(terminal: Terminal) -> None:
    loop = returned_by_progress(terminal)
    assert loop.gi_code is loops._count.__code__


@pytest.mark.service
def test_at_a_pseudo_terminal_the_bar_moves_and_a_pipe_gets_none_of_it(tmp_path: Path) -> None:
    until = tmp_path / "go-on"
    words = [sys.executable, "-W", "ignore", "-m", "django", "count_rows", "--until", str(until)]
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}", "DJANGO_SETTINGS_MODULE": "tests.settings"}
    master, end = pty.openpty()
    termios.tcsetwinsize(end, (24, 120))
    env |= {"TERM": "xterm"}
    with subprocess.Popen(words, env=env, cwd=ROOT, stdout=subprocess.PIPE, stderr=end, text=True) as process:
        os.close(end)
        screen = ""
        try:
            while "2 of 4 rows" not in screen:
                screen += os.read(master, 65_536).decode()
            until.touch()
            out, _errors = process.communicate(timeout=60)
            with suppress(OSError):
                while data := os.read(master, 65_536):
                    screen += data.decode()
        finally:
            process.kill()
            os.close(master)
    assert out == "Row 0\nRow 1\nRow 2\nRow 3\nCounted\n"
    assert "4 of 4 rows" in screen
    assert process.returncode == 0
