"""The tests' tasks for Huey."""

from huey.contrib.djhuey import db_task

import telltale
from telltale.testing.runners import Work, write


@db_task()
@telltale.tracked
def count(log: str, steps: int, pause_s: float) -> None:
    Work.count(log, steps, pause_s)


@db_task()
@telltale.tracked
def fail(log: str) -> None:
    Work.fail(log)


@db_task()
@telltale.tracked
def crash(log: str) -> None:
    Work.crash(log)


@db_task()
@telltale.tracked
def hold(log: str, gate: str) -> None:
    Work.hold(log, gate)


@db_task()
@telltale.tracked
def rows(log: str) -> None:
    Work.rows(log)


@db_task()
def untracked(log: str) -> None:
    write(log, "untracked")


@db_task(retries=1, retry_delay=1)
@telltale.tracked
def fail_twice(log: str) -> None:
    write(log, "fail_twice")
    raise ConnectionError("down")


@db_task(expires=1)
@telltale.tracked
def expire(log: str) -> None:
    write(log, "expire")
