"""Jobs of APScheduler, or of any scheduler that calls functions, are shown by `telltale.track`."""

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
    """A scheduler that runs jobs in its own threads."""
    scheduler = BackgroundScheduler(timezone="UTC")
    scheduler.start()
    yield scheduler
    scheduler.shutdown()


def rebuild(rows: list[str]) -> None:
    """A job of a site."""
    try:
        with telltale.track("Rebuild the index"):
            for row in telltale.progress(rows, unit="rows"):
                if row == "bad":
                    raise telltale.TaskError("Row 2 is bad.")
    finally:
        connections.close_all()  # Django closes connections after requests only.


def test_a_job_is_shown_until_its_end(scheduler: BackgroundScheduler) -> None:
    scheduler.add_job(rebuild, args=[["a", "b", "c"]])
    wait_until(lambda: TaskState.objects.filter(state=State.SUCCEEDED).exists(), "the job has succeeded")
    row = TaskState.objects.get()
    assert (row.label, row.snapshot.progress.current, row.snapshot.progress.total) == ("Rebuild the index", 3, 3)


def test_a_job_that_fails_is_shown_with_its_text(scheduler: BackgroundScheduler) -> None:
    scheduler.add_job(rebuild, args=[["a", "bad"]])
    wait_until(lambda: TaskState.objects.filter(state=State.FAILED).exists(), "the job has failed")
    assert TaskState.objects.get().error == "Row 2 is bad."
