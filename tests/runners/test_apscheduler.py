"""APScheduler, or any other scheduler that calls functions: `telltale.track` is all that its jobs need."""

from collections.abc import Iterator

import pytest
from apscheduler.schedulers.background import BackgroundScheduler
from django.db import connections

import telltale
from telltale.core.states import State
from telltale.models import TaskState
from telltale.testing.runners import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def scheduler() -> Iterator[BackgroundScheduler]:
    """Runs jobs in its threads."""
    scheduler = BackgroundScheduler(timezone="UTC")
    scheduler.start()
    yield scheduler
    scheduler.shutdown()


def rebuild(rows: list[str]) -> None:
    """A job, as a site has it."""
    try:
        with telltale.track("Rebuild the index"):
            for row in telltale.progress(rows, unit="rows"):
                if row == "bad":
                    raise telltale.TaskError("Row 2 is bad.")
    finally:
        connections.close_all()  # The scheduler's threads come and go without Django's knowledge.


def test_a_job_is_seen_to_its_end(scheduler: BackgroundScheduler) -> None:
    scheduler.add_job(rebuild, args=[["a", "b", "c"]])
    wait_until(lambda: TaskState.objects.filter(state=State.SUCCEEDED).exists(), "the job has succeeded")
    row = TaskState.objects.get()
    assert (row.label, row.snapshot.progress.current, row.snapshot.progress.total) == ("Rebuild the index", 3, 3)


def test_a_job_that_fails_says_so_in_its_words(scheduler: BackgroundScheduler) -> None:
    scheduler.add_job(rebuild, args=[["a", "bad"]])
    wait_until(lambda: TaskState.objects.filter(state=State.FAILED).exists(), "the job has failed")
    assert TaskState.objects.get().error == "Row 2 is bad."
