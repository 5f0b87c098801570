"""The tests' tasks for RQ."""

import os
import signal
import time

from django_rq import job
from rq import Retry

import telltale
from telltale.testing.runners import Work, write


@job
@telltale.tracked
def count(log: str, steps: int, pause_s: float) -> None:
    Work.count(log, steps, pause_s)


@job
@telltale.tracked
def fail(log: str) -> None:
    Work.fail(log)


@job
@telltale.tracked
def crash(log: str) -> None:
    Work.crash(log)


@job
@telltale.tracked
def hold(log: str, gate: str) -> None:
    Work.hold(log, gate)


@job
@telltale.tracked
def rows(log: str) -> None:
    Work.rows(log)


@job
@telltale.tracked
async def count_async(log: str, steps: int) -> None:
    await Work.count_async(log, steps)


@job
def untracked(log: str) -> None:
    write(log, "untracked")


@job("default", retry=Retry(max=1, interval=1))
@telltale.tracked
def fail_twice(log: str) -> None:
    write(log, "fail_twice")
    raise ConnectionError("down")


@telltale.tracked(runner="rq")
def plain(log: str) -> None:
    write(log, "plain")


@job
@telltale.tracked
def kill_own_process(log: str) -> None:
    write(log, "kill_own_process")
    os.kill(os.getpid(), signal.SIGKILL)


@job("default", timeout=1)
@telltale.tracked
def outlast(log: str) -> None:
    write(log, "outlast")
    time.sleep(20)


@job
@telltale.tracked
def deaf(log: str) -> None:
    Work.deaf(log)


@job("default", retry=Retry(max=3))
@telltale.tracked
def hold_with_retries(log: str, gate: str) -> None:
    Work.hold(log, gate)
