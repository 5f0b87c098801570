"""The tests' actors for Dramatiq."""

import time

import dramatiq

import telltale
from telltale.testing.runners import TaskFunctions, append_line


@dramatiq.actor(max_retries=0)
@telltale.tracked
def count(log: str, steps: int, pause_s: float) -> None:
    TaskFunctions.count(log, steps, pause_s)


@dramatiq.actor(max_retries=0)
@telltale.tracked
def fail(log: str) -> None:
    TaskFunctions.fail(log)


@dramatiq.actor(max_retries=0)
@telltale.tracked
def crash(log: str) -> None:
    TaskFunctions.crash(log)


@dramatiq.actor(max_retries=0)
@telltale.tracked
def wait_for_file(log: str, file: str) -> None:
    TaskFunctions.wait_for_file(log, file)


@dramatiq.actor(max_retries=0)
@telltale.tracked
def catch_exceptions(log: str) -> None:
    TaskFunctions.catch_exceptions(log)


@dramatiq.actor(max_retries=0)
@telltale.tracked
async def count_async(log: str, steps: int) -> None:
    await TaskFunctions.count_async(log, steps)


redelivered = wait_for_file


@dramatiq.actor(max_retries=0)
def follow_me(log: str) -> None:
    """Stands for a task of another package. Followed by `tests.settings`."""
    append_line(log, "follow_me")


@dramatiq.actor(max_retries=0)
def untracked(log: str) -> None:
    append_line(log, "untracked")


@dramatiq.actor(max_retries=1, min_backoff=3_000, max_backoff=3_000)
@telltale.tracked
def fail_twice(log: str) -> None:
    append_line(log, "fail_twice")
    raise ConnectionError("down")


@dramatiq.actor(max_retries=0, time_limit=1_000)
@telltale.tracked
def exceed_time_limit(log: str) -> None:
    append_line(log, "exceed_time_limit")
    for _ in range(2_000):
        time.sleep(0.01)


@dramatiq.actor(max_retries=0, max_age=500)
@telltale.tracked
def expire(log: str) -> None:
    append_line(log, "expire")
