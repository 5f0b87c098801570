"""The tests' actors for Dramatiq."""

import time

import dramatiq

import telltale
from telltale.testing.runners import Work, write


@dramatiq.actor(max_retries=0)
@telltale.tracked
def count(log: str, steps: int, pause_s: float) -> None:
    Work.count(log, steps, pause_s)


@dramatiq.actor(max_retries=0)
@telltale.tracked
def fail(log: str) -> None:
    Work.fail(log)


@dramatiq.actor(max_retries=0)
@telltale.tracked
def crash(log: str) -> None:
    Work.crash(log)


@dramatiq.actor(max_retries=0)
@telltale.tracked
def hold(log: str, gate: str) -> None:
    Work.hold(log, gate)


@dramatiq.actor(max_retries=0)
@telltale.tracked
def rows(log: str) -> None:
    Work.rows(log)


@dramatiq.actor(max_retries=0)
@telltale.tracked
async def count_async(log: str, steps: int) -> None:
    await Work.count_async(log, steps)


@dramatiq.actor(max_retries=0)
def untracked(log: str) -> None:
    write(log, "untracked")


@dramatiq.actor(max_retries=1, min_backoff=1_000, max_backoff=1_000)
@telltale.tracked
def fail_twice(log: str) -> None:
    write(log, "fail_twice")
    raise ConnectionError("down")


@dramatiq.actor(max_retries=0, time_limit=1_000)
@telltale.tracked
def outlast(log: str) -> None:
    write(log, "outlast")
    for _ in range(2_000):
        time.sleep(0.01)


@dramatiq.actor(max_retries=0, max_age=500)
@telltale.tracked
def expire(log: str) -> None:
    write(log, "expire")
