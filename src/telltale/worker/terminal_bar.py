"""The bar that `telltale.progress` draws at the terminal of a management command.

A thread draws it, ten times a second, from the attributes that the loop sets anyway: an iteration costs what it costs
in any run. A loop that ends within `FIRST_AFTER_S` draws nothing. Only one bar is drawn at a time. While there is one,
what the command prints goes above it.
"""

import atexit
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from telltale import native
from telltale.core.estimate import Pace
from telltale.worker.counting_loop import CountingLoop
from telltale.worker.current import NoTracker
from telltale.worker.running_command import RunningCommand, command_at_terminal
from telltale.worker.terminal_line import Figures, columns_of, renderer
from telltale.worker.tracker import Tracker

FIRST_AFTER_S: Final = 0.5
"""How long a loop must run before its bar is drawn: many commands have many short loops."""

DRAW_EVERY_S: Final = 0.1


class Bar:
    """The bar of one loop. The loop's thread begins and closes it; the drawing thread draws it."""

    def __init__(self, running: RunningCommand, tracker: Tracker) -> None:
        self.tracker = Tracker() if isinstance(tracker, NoTracker) else tracker
        """Where the loop counts: the run's tracker, or one of the bar's own outside a run."""
        self._terminal = running.terminal
        self._render = renderer(has_colours=running.has_colours)
        self._pace = Pace()
        self._lock = native.lock()
        """Held while something is written to the terminal."""
        self._holder: int | None = None
        """The thread that holds it."""
        self._loop: CountingLoop | None = None
        self._began_at = 0.0
        self._drawn_columns = 0
        self._is_mid_line = False
        """Whether the command has printed the beginning of a line; the bar waits for its end."""
        self._streams = _Streams(running, self)
        self._is_open = False
        native.call_after_fork(self)

    def begin(self, loop: CountingLoop) -> None:
        """The loop begins."""
        self._loop, self._began_at, self._is_open = loop, time.monotonic(), True
        _drawing.get().show(self)

    @property
    def is_open(self) -> bool:
        """Whether it was begun and not closed."""
        return self._is_open

    def is_looping(self) -> bool:
        """Whether its loop still runs. One that was left early, and is kept by a variable, does not.

        Call it in the loop's thread: in another one, the loop's iterator could be finalized there.
        """
        return self._is_open and self._loop is not None and self._loop.is_running()

    def draw(self) -> None:
        """Draw it, unless it is too early."""
        if not self._is_open or time.monotonic() - self._began_at < FIRST_AFTER_S:
            return
        line = self._line()
        with self._locked():
            if self.is_open and not self._is_mid_line and line:
                if not self._drawn_columns:
                    self._streams.replace()
                self._show(line)

    def close(self) -> None:
        """Draw it a last time and end its line, if it was drawn; give the streams back. Harmless when repeated."""
        line = self._line() if self._is_open and self._drawn_columns else ""
        if self._is_held_here():
            # The loop was finalized while this thread writes to the terminal.
            self._is_open = False
            self._streams.restore()
            return
        with self._locked():
            if self._is_open and line:
                self._print("\n" if self._is_mid_line else "")
                self._is_mid_line = False
                self._show(line)
                self._print("\n")
            self._is_open = False
            self._streams.restore()

    def write_above(self, stream: Any, text: str) -> Any:
        """Write the command's text to its stream, where the bar stands now; the bar is drawn again below it."""
        if self._is_held_here():
            return stream.write(text)
        with self._locked():
            self._erase()
            written = stream.write(text)
            if text:
                self._is_mid_line = not text.endswith("\n")
                stream.flush()
            return written

    def after_fork(self) -> None:
        """In the child: no thread draws it, and the lock may be held."""
        self._lock, self._holder, self._is_open = native.lock(), None, False
        self._streams.restore()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._lock:
            self._holder = native.get_ident()
            try:
                yield
            finally:
                self._holder = None

    def _is_held_here(self) -> bool:
        """Whether this thread holds the lock: any code may run within it, by the garbage collector."""
        return self._holder == native.get_ident()

    def _line(self) -> str:
        """The line to draw; empty if the loop counts objects that are no numbers."""
        now = time.monotonic()
        try:
            progress = self.tracker.sample()
            self._pace.add(progress.fraction, now=now)
            figures = Figures(progress, now - self._began_at, self._pace.remaining_s(now=now))
            return self._render(figures, columns_of(self._terminal))
        except Exception:
            return ""

    # Call these with the lock held.

    def _show(self, line: str) -> None:
        self._erase()
        self._print(line)
        self._drawn_columns = columns_of(self._terminal)

    def _erase(self) -> None:
        if self._drawn_columns and self._is_open and not self._is_mid_line:
            self._print("\r" + " " * min(self._drawn_columns, columns_of(self._terminal)) + "\r")

    def _print(self, text: str) -> None:
        with suppress(OSError, ValueError):  # The terminal was closed: the command goes on.
            self._terminal.write(text)
            self._terminal.flush()


class _AboveBar:
    """A stream in place of the command's: what is written goes above the bar."""

    def __init__(self, stream: Any, bar: Bar) -> None:
        self._stream, self._bar = stream, bar

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> Any:
        """Write the text above the bar."""
        return self._bar.write_above(self._stream, text)


class _Streams:
    """Replaces those streams of the command and of the process that are terminals, for as long as the bar is drawn."""

    def __init__(self, running: RunningCommand, bar: Bar) -> None:
        command = running.command
        self._places: list[tuple[Any, str]] = [(sys, "stdout"), (sys, "stderr")]
        self._places += [(wrapper, "_out") for wrapper in (command.stdout, command.stderr) if hasattr(wrapper, "_out")]
        self._bar = bar
        self._replaced: list[tuple[Any, str, Any, Any]] = []

    def replace(self) -> None:
        """Send what is written to them above the bar."""
        for owner, name in self._places:
            stream = getattr(owner, name)
            if stream is not None and stream.isatty():
                above = _AboveBar(stream, self._bar)
                setattr(owner, name, above)
                self._replaced.append((owner, name, stream, above))

    def restore(self) -> None:
        """Give them back, unless other code has replaced them since."""
        for owner, name, stream, above in self._replaced:
            if getattr(owner, name) is above:
                setattr(owner, name, stream)
        self._replaced = []


class _Drawing:
    """The thread that draws the bar of this process, while there is one."""

    def __init__(self) -> None:
        self.bar: Bar | None = None
        self._has_bar = native.Event()
        self._thread = native.LazyThread(self._work, "telltale-terminal")

    def show(self, bar: Bar) -> None:
        """Draw this bar from now on."""
        self.bar = bar
        if self._thread.start():
            self._has_bar.set()

    def _work(self) -> None:
        while True:
            self._has_bar.wait()
            self._has_bar.clear()
            while (bar := self.bar) is not None and bar.is_open:
                bar.draw()
                native.sleep(DRAW_EVERY_S)

    def close(self) -> None:
        """Close the bar, if there is one."""
        if self.bar is not None:
            self.bar.close()


_drawing = native.PerProcess(_Drawing)
# A loop that an error has left may live on in its traceback.
atexit.register(lambda: _drawing.get().close())


def bar_for(tracker: Tracker) -> Bar | None:
    """Return a bar for a loop that begins here; None unless it runs in a management command at a terminal.

    None also in other threads than the main one, within a loop that has a bar, and in a worker that is a management
    command: its terminal is not the task's.
    """
    if tracker.is_in_worker or threading.current_thread() is not threading.main_thread():
        return None
    drawing = _drawing.get()
    if drawing.bar is not None and drawing.bar.is_looping():
        return None
    drawing.close()
    running = command_at_terminal()
    return None if running is None else Bar(running, tracker)
