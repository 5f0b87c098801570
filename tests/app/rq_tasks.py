"""The tests' tasks for RQ."""

import os
import signal
import time

from django.db import transaction
from django_rq import job
from rq import Retry

import telltale
from telltale.testing.runners import TaskFunctions, append_line
from tests.app import crash_points


@job
@telltale.tracked
def count(log: str, steps: int, pause_s: float) -> None:
    TaskFunctions.count(log, steps, pause_s)


@job
@telltale.tracked
def fail(log: str) -> None:
    TaskFunctions.fail(log)


@job
@telltale.tracked
def crash(log: str) -> None:
    TaskFunctions.crash(log)


@job
@telltale.tracked
def wait_for_file(log: str, file: str) -> None:
    TaskFunctions.wait_for_file(log, file)


@job
@telltale.tracked
def catch_exceptions(log: str) -> None:
    TaskFunctions.catch_exceptions(log)


@job
@telltale.tracked
async def count_async(log: str, steps: int) -> None:
    await TaskFunctions.count_async(log, steps)


@job
def follow_me(log: str) -> None:
    """Stands for a task of another package. Followed by `tests.settings`."""
    append_line(log, "follow_me")


@job
def untracked(log: str) -> None:
    append_line(log, "untracked")


@job("default", retry=Retry(max=1, interval=3))
@telltale.tracked
def fail_twice(log: str) -> None:
    append_line(log, "fail_twice")
    raise ConnectionError("down")


@telltale.tracked(runner="rq")
def plain(log: str) -> None:
    append_line(log, "plain")


@job
@telltale.tracked
def kill_own_process(log: str) -> None:
    append_line(log, "kill_own_process")
    os.kill(os.getpid(), signal.SIGKILL)


@job("default", timeout=1)
@telltale.tracked
def exceed_timeout(log: str) -> None:
    append_line(log, "exceed_timeout")
    time.sleep(20)


@job
@telltale.tracked
def sleep(log: str) -> None:
    TaskFunctions.sleep(log)


@job("default", retry=Retry(max=3))
@telltale.tracked
def wait_for_file_with_retries(log: str, file: str) -> None:
    TaskFunctions.wait_for_file(log, file)


@job
@telltale.tracked
def stop_at(log: str, point: str) -> None:
    crash_points.stop_at(log, point)


@job
@transaction.atomic
@telltale.tracked
def fail_in_transaction(log: str) -> None:
    """The site's transaction is rolled back."""
    TaskFunctions.fail(log)
