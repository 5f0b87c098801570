"""The tests' tasks for Procrastinate."""

import asyncio
import time

from procrastinate import JobContext, RetryStrategy
from procrastinate.contrib.django import app
from procrastinate.exceptions import JobAborted

import telltale
from telltale.testing.runners import TaskFunctions, append_line
from tests.app.refusing import refuse


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


@app.task
@refuse
@telltale.tracked
def fail_above(log: str) -> None:
    append_line(log, "fail_above")


@app.task
@telltale.tracked
async def wait_for_ever(log: str) -> None:
    append_line(log, "wait_for_ever")
    await asyncio.Event().wait()


@app.task(pass_context=True, retry=RetryStrategy(max_attempts=1))
@telltale.tracked
def stop_at_shutdown(context: JobContext, log: str) -> None:
    """As Procrastinate's documentation says: the job is retried after the worker's shutdown."""
    append_line(log, "stop_at_shutdown")
    while context.job.attempts == 0:
        if context.should_abort():
            raise JobAborted
        time.sleep(0.02)


@app.task(pass_context=True)
@telltale.tracked
def stop_at_shutdown_for_good(context: JobContext, log: str) -> None:
    append_line(log, "stop_at_shutdown_for_good")
    while not context.should_abort():
        time.sleep(0.02)
    raise JobAborted
