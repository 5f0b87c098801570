"""The tests' tasks for `django.tasks`, built in or from the backport."""

import telltale
from telltale.testing.runners import Work, write
from tests.app.compat import task


@task
@telltale.tracked
def count(log: str, steps: int, pause_s: float) -> None:
    Work.count(log, steps, pause_s)


@task(priority=5, queue_name="reports")
@telltale.tracked
def report(log: str) -> None:
    write(log, "report")


@task
@telltale.tracked
def fail(log: str) -> None:
    Work.fail(log)


@task
@telltale.tracked
def crash(log: str) -> None:
    Work.crash(log)


@task
@telltale.tracked
def hold(log: str, gate: str) -> None:
    Work.hold(log, gate)


@task
@telltale.tracked
def rows(log: str) -> None:
    Work.rows(log)


@task
@telltale.tracked
def cancels_itself(log: str) -> None:
    telltale.current().request_cancel()
    Work.rows(log)


@task
@telltale.tracked
async def count_async(log: str, steps: int) -> None:
    await Work.count_async(log, steps)


@task
def untracked(log: str) -> None:
    write(log, "untracked")


@task
@telltale.tracked
def runs_another(log: str) -> None:
    write(log, "runs_another")
    count.using(backend="immediate").enqueue(log, 2, 0.0)
    telltale.current().result = "/outer/"
