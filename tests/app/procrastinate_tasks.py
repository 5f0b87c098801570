"""The tests' tasks for Procrastinate."""

from procrastinate import RetryStrategy
from procrastinate.contrib.django import app

import telltale
from telltale.testing.runners import Work, write


@app.task
@telltale.tracked
def count(log: str, steps: int, pause_s: float) -> None:
    Work.count(log, steps, pause_s)


@app.task
@telltale.tracked
def fail(log: str) -> None:
    Work.fail(log)


@app.task
@telltale.tracked
def crash(log: str) -> None:
    Work.crash(log)


@app.task
@telltale.tracked
def hold(log: str, gate: str) -> None:
    Work.hold(log, gate)


@app.task
@telltale.tracked
def rows(log: str) -> None:
    Work.rows(log)


@app.task
@telltale.tracked
async def count_async(log: str, steps: int) -> None:
    await Work.count_async(log, steps)


@app.task
def untracked(log: str) -> None:
    write(log, "untracked")


@app.task(retry=RetryStrategy(max_attempts=1, wait=1))
@telltale.tracked
def fail_twice(log: str) -> None:
    write(log, "fail_twice")
    raise ConnectionError("down")
