"""The tests' tasks for Huey."""

from datetime import UTC, datetime, timedelta

from huey import RetryTask, exceptions
from huey.contrib.djhuey import db_task

import telltale
from telltale.testing.runners import TaskFunctions, append_line


@db_task()
@telltale.tracked
def count(log: str, steps: int, pause_s: float) -> None:
    TaskFunctions.count(log, steps, pause_s)


@db_task()
@telltale.tracked
def fail(log: str) -> None:
    TaskFunctions.fail(log)


@db_task()
@telltale.tracked
def crash(log: str) -> None:
    TaskFunctions.crash(log)


@db_task()
@telltale.tracked
def wait_for_file(log: str, file: str) -> None:
    TaskFunctions.wait_for_file(log, file)


@db_task()
@telltale.tracked
def catch_exceptions(log: str) -> None:
    TaskFunctions.catch_exceptions(log)


@db_task()
def follow_me(log: str) -> None:
    """Stands for a task of another package. Followed by `tests.settings`."""
    append_line(log, "follow_me")


@db_task()
@telltale.tracked
def handle_error(log: str, error: BaseException | None = None) -> None:
    append_line(log, "handle_error")


@db_task()
def untracked(log: str) -> None:
    append_line(log, "untracked")


@db_task(retries=1, retry_delay=3)
@telltale.tracked
def fail_twice(log: str) -> None:
    append_line(log, "fail_twice")
    raise ConnectionError("down")


@db_task(expires=1)
@telltale.tracked
def expire(log: str) -> None:
    append_line(log, "expire")


RETRIES = {
    "in seconds": lambda: RetryTask(delay=3_600),
    "in a timedelta": lambda: RetryTask(delay=timedelta(hours=1)),
    "at a local time": lambda: RetryTask(eta=datetime.now() + timedelta(hours=1)),
    "at a time": lambda: RetryTask(eta=datetime.now(UTC) + timedelta(hours=1)),
}
"""Exceptions by which a task asks to be run again in an hour."""

if hasattr(exceptions, "RateLimitExceeded"):  # Not in older versions.
    RETRIES["at a limit"] = lambda: exceptions.RateLimitExceeded("mail", 3_600)


@db_task()
@telltale.tracked
def retry(how: str) -> None:
    raise RETRIES[how]()
