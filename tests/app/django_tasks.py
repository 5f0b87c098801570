"""The tests' tasks for `django.tasks`, built in or from the backport."""

from django.db import transaction

import telltale
from telltale.testing.runners import TaskFunctions, append_line
from tests.app import crash_points
from tests.app.compat import task


@task
@telltale.tracked
def count(log: str, steps: int, pause_s: float) -> None:
    TaskFunctions.count(log, steps, pause_s)


@task(priority=5, queue_name="reports")
@telltale.tracked
def report(log: str) -> None:
    append_line(log, "report")


@task
@telltale.tracked
def fail(log: str) -> None:
    TaskFunctions.fail(log)


@task
@telltale.tracked
def crash(log: str) -> None:
    TaskFunctions.crash(log)


@task
@telltale.tracked
def wait_for_file(log: str, file: str) -> None:
    TaskFunctions.wait_for_file(log, file)


@task
@telltale.tracked
def catch_exceptions(log: str) -> None:
    TaskFunctions.catch_exceptions(log)


@task
@telltale.tracked
def cancels_itself(log: str) -> None:
    telltale.current().request_cancel()
    TaskFunctions.catch_exceptions(log)


@task
@telltale.tracked
async def count_async(log: str, steps: int) -> None:
    await TaskFunctions.count_async(log, steps)


@task
def follow_me(log: str) -> None:
    """Stands for a task of another package. Followed by `tests.settings`."""
    append_line(log, "follow_me")


@task
def untracked(log: str) -> None:
    append_line(log, "untracked")


@task
@telltale.tracked
def runs_another(log: str) -> None:
    append_line(log, "runs_another")
    count.using(backend="immediate").enqueue(log, 2, 0.0)
    telltale.current().result = "/outer/"


@task
@telltale.tracked
def stop_at(log: str, point: str) -> None:
    crash_points.stop_at(log, point)


@task
@transaction.atomic
@telltale.tracked
def fail_in_transaction(log: str) -> None:
    """The site's transaction is rolled back."""
    TaskFunctions.fail(log)
