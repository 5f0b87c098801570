"""`telltale.call_command`: run a management command and show it; the lines that it writes are its message.

The command's code needs no change, so it may be another package's. Its streams are wrapped: each text goes to the
stream that it was meant for first, then the tracker gets the line. The reporter samples the tracker ten times a
second, so a command that writes a thousand lines a second costs no more than a quiet one.
"""

import re
import sys
import threading
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

from django.core import management
from django.core.management import BaseCommand

from telltale.core.labels import label_from_name
from telltale.owners import CURRENT_OWNER
from telltale.worker.current import NoTracker, current
from telltale.worker.run import track
from telltale.worker.tracker import Tracker

LINE_CHARS: Final = 500
"""How much of a line is kept for the message. The stream gets all of it."""

_COLOURS: Final = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
"""The escape sequences by which terminals show colours."""


def call_command(
    command: str | BaseCommand, *args: Any, owner: Any = CURRENT_OWNER, label: object = None, **options: Any
) -> Any:
    """Run a management command as Django's `call_command` does, and show it as a task; return what that returns.

    The newest line that the command writes to `self.stdout` or `self.stderr` is the task's message. The output still
    goes to the options `stdout` and `stderr`, by default to the process's streams. A cancellation raises
    `telltale.Cancelled` in the command after its next line. `owner`, `label`: as in `telltale.track`; the label is by
    default made from the command's name. Inside a run, the lines are the message of that run, `owner` is not used, and
    a `label` makes a stage of the command.
    """
    tracker = current()
    is_own_run = isinstance(tracker, NoTracker)
    with _new_run(command, owner, label) if is_own_run else _part_of(tracker, label) as shown:
        for name in ("stdout", "stderr"):
            options[name] = ShownStream(options.get(name) or getattr(sys, name), shown)
        return management.call_command(command, *args, **options)


def _new_run(command: str | BaseCommand, owner: Any, label: object) -> track:
    name = command if isinstance(command, str) else type(command).__module__.rpartition(".")[2]
    return track(str(label or label_from_name(name)), owner=owner, name=name)


def _part_of(tracker: Tracker, label: object) -> AbstractContextManager[Tracker]:
    return nullcontext(tracker) if label is None else tracker.stage(str(label))


class ShownStream:
    """A stream for a command's output: passes everything on to `stream`, and shows the newest line as the message."""

    def __init__(self, stream: Any, tracker: Tracker) -> None:
        self._stream = stream
        self._tracker = tracker
        self._thread = threading.get_ident()
        self._line = ""
        """The beginning of the present line, up to `LINE_CHARS`."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write the text; raise `Cancelled` after the end of a line if the task was cancelled."""
        written: int = self._stream.write(text)
        # A progress bar in a terminal rewrites its line after a carriage return.
        *ended, line = text.replace("\r", "\n").split("\n")
        for part in ended:
            self._show(part)
            self._line = ""
        self._show(line)
        # In other threads `Cancelled` would end the thread, not the command.
        if ended and threading.get_ident() == self._thread:
            self._tracker.check_cancelled()
        return written

    def _show(self, part: str) -> None:
        if part and len(self._line) < LINE_CHARS:
            self._line = (self._line + part)[:LINE_CHARS]
            line = _COLOURS.sub("", self._line).strip()
            # Many commands write dots while they work: these tell people less than the line before.
            if any(map(str.isalnum, line)):
                self._tracker.message = line
