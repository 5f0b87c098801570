"""The tests' tasks for django-q2: plain functions, so the decorator names the runner."""

import os
import signal
from pathlib import Path

import telltale
from telltale.testing.runners import TaskFunctions, append_line


@telltale.tracked(runner="django_q")
def count(log: str, steps: int, pause_s: float) -> None:
    TaskFunctions.count(log, steps, pause_s)


@telltale.tracked(runner="django_q")
def fail(log: str) -> None:
    TaskFunctions.fail(log)


@telltale.tracked(runner="django_q")
def crash(log: str) -> None:
    TaskFunctions.crash(log)


@telltale.tracked(runner="django_q")
def wait_for_file(log: str, file: str) -> None:
    TaskFunctions.wait_for_file(log, file)


@telltale.tracked(runner="django_q")
def catch_exceptions(log: str) -> None:
    TaskFunctions.catch_exceptions(log)


redelivered = wait_for_file


def follow_me(log: str) -> None:
    """Stands for a task of another package. Followed by `tests.settings`."""
    append_line(log, "follow_me")


def untracked(log: str) -> None:
    append_line(log, "untracked")


@telltale.tracked(runner="django_q")
def die_once(log: str) -> None:
    append_line(log, "die_once")
    if Path(log).read_text().count("die_once") == 1:
        os.kill(os.getpid(), signal.SIGKILL)
