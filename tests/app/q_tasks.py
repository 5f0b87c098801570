"""The tests' tasks for django-q2: plain functions, whose mark says whose they are."""

import os
import signal
from pathlib import Path

import telltale
from telltale.testing.runners import Work, write


@telltale.tracked(runner="django_q")
def count(log: str, steps: int, pause_s: float) -> None:
    Work.count(log, steps, pause_s)


@telltale.tracked(runner="django_q")
def fail(log: str) -> None:
    Work.fail(log)


@telltale.tracked(runner="django_q")
def crash(log: str) -> None:
    Work.crash(log)


@telltale.tracked(runner="django_q")
def hold(log: str, gate: str) -> None:
    Work.hold(log, gate)


@telltale.tracked(runner="django_q")
def rows(log: str) -> None:
    Work.rows(log)


def untracked(log: str) -> None:
    write(log, "untracked")


@telltale.tracked(runner="django_q")
def die_once(log: str) -> None:
    write(log, "die_once")
    if Path(log).read_text().count("die_once") == 1:
        os.kill(os.getpid(), signal.SIGKILL)
