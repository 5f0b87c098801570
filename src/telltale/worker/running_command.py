"""Which management command runs the code that asks, and whether it has a terminal to draw a bar on.

Read from the call stack, once for each loop: a command's code needs no change. Requests and tests that a command runs
(`runserver`, `test`) are not the command's own work.
"""

import os
import sys
from types import FrameType
from typing import Final, NamedTuple, TextIO

from django.core.management.base import BaseCommand

_EXECUTE: Final = BaseCommand.execute.__code__

_NOT_OF_A_COMMAND: Final = frozenset({"django.core.handlers.base", "unittest.case"})
"""Modules that run other code than a command's own."""


class RunningCommand(NamedTuple):
    """A command that has a terminal."""

    command: BaseCommand
    terminal: TextIO
    """The process's stderr, so that the command's output can go to a file."""
    has_colours: bool


def command_at_terminal() -> RunningCommand | None:
    """Return the command that the caller runs in.

    None outside of commands, without a terminal, with `--verbosity 0` and with `--no-color`.
    """
    terminal = sys.stderr
    if terminal is None or not terminal.isatty():
        return None
    frame = _frame_of_execute(sys._getframe(1))
    if frame is None:
        return None
    command, options = frame.f_locals["self"], frame.f_locals["options"]
    if options.get("no_color") or options.get("verbosity") == 0 or not command.stderr.isatty():
        return None
    has_colours = "NO_COLOR" not in os.environ and os.environ.get("TERM") not in {"dumb", "unknown"}
    return RunningCommand(command, terminal, has_colours)


def _frame_of_execute(frame: FrameType | None) -> FrameType | None:
    while frame is not None and frame.f_code is not _EXECUTE:
        if frame.f_globals.get("__name__") in _NOT_OF_A_COMMAND:
            return None
        frame = frame.f_back
    return frame
