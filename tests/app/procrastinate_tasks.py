"""The tests' tasks for Procrastinate."""

from procrastinate import RetryStrategy
from procrastinate.contrib.django import app

import telltale
from telltale.testing.runners import TaskFunctions, append_line


@app.task
@telltale.tracked
def count(log: str, steps: int, pause_s: float) -> None:
    TaskFunctions.count(log, steps, pause_s)


@app.task
@telltale.tracked
def fail(log: str) -> None:
    TaskFunctions.fail(log)


@app.task
@telltale.tracked
def crash(log: str) -> None:
    TaskFunctions.crash(log)


@app.task
@telltale.tracked
def wait_for_file(log: str, file: str) -> None:
    TaskFunctions.wait_for_file(log, file)


@app.task
@telltale.tracked
def catch_exceptions(log: str) -> None:
    TaskFunctions.catch_exceptions(log)


@app.task
@telltale.tracked
async def count_async(log: str, steps: int) -> None:
    await TaskFunctions.count_async(log, steps)


@app.task
def follow_me(log: str) -> None:
    """Stands for a task of another package. Followed by `tests.settings`."""
    append_line(log, "follow_me")


@app.task
def untracked(log: str) -> None:
    append_line(log, "untracked")


@app.task(retry=RetryStrategy(max_attempts=1, wait=3))
@telltale.tracked
def fail_twice(log: str) -> None:
    append_line(log, "fail_twice")
    raise ConnectionError("down")
