"""The tests' tasks for Celery."""

import os
import signal
import time
from functools import cache
from pathlib import Path
from typing import Any

from celery import Task, current_app, shared_task
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded
from django.contrib.auth import get_user_model
from django.db import transaction
from redis import Redis

import telltale
from telltale.testing.runners import TaskFunctions, append_line
from tests.app import crash_points


@shared_task
@telltale.tracked
def count(log: str, steps: int, pause_s: float) -> None:
    TaskFunctions.count(log, steps, pause_s)


@shared_task
@telltale.tracked
def fail(log: str) -> None:
    TaskFunctions.fail(log)


@shared_task
@telltale.tracked
def crash(log: str) -> None:
    TaskFunctions.crash(log)


@shared_task
@telltale.tracked
def wait_for_file(log: str, file: str) -> None:
    TaskFunctions.wait_for_file(log, file)


@shared_task
@telltale.tracked
def catch_exceptions(log: str) -> None:
    TaskFunctions.catch_exceptions(log)


@shared_task
def catch_exceptions_in_block(log: str) -> None:
    """Not tracked, but it contains a block that is."""
    with telltale.track("Rows"):
        TaskFunctions.catch_exceptions(log)


@shared_task(bind=True, max_retries=3)
@telltale.tracked
def retry_once(self: Any, log: str) -> None:
    append_line(log, "retry_once")
    if self.request.retries == 0:
        raise self.retry(countdown=2)


@shared_task(autoretry_for=(ConnectionError,), max_retries=1, default_retry_delay=0)
@telltale.tracked
def autoretry(log: str) -> None:
    append_line(log, "autoretry")
    raise ConnectionError("down")


@shared_task(autoretry_for=(Exception,), max_retries=1, default_retry_delay=0)
@telltale.tracked
def autoretry_anything(name: str) -> None:
    raise {"SoftTimeLimitExceeded": SoftTimeLimitExceeded(), "Reject": Reject()}[name]


@shared_task(bind=True)
@telltale.tracked
def ignore(self: Any) -> None:
    raise Ignore


@shared_task(bind=True)
@telltale.tracked
def replace_itself(self: Any, log: str) -> None:
    append_line(log, "replace_itself")
    raise self.replace(count.si(log, 2, 0.0))


@shared_task
@telltale.tracked
def call_another(log: str) -> None:
    append_line(log, "call_another")
    count.delay(log, 1, 0.0)


@shared_task
@telltale.tracked
def kill_own_process(log: str) -> None:
    append_line(log, "kill_own_process")
    os.kill(os.getpid(), signal.SIGKILL)


@shared_task(bind=True)
def follow_me(self: Any, log: str) -> None:
    """Stands for a task of another package, which can't be decorated. Followed by `tests.settings`."""
    append_line(log, "follow_me")


telltale.follow("tests.app.celery_tasks.vendor_*", label="Vendor's report")


@shared_task
def vendor_monthly(log: str) -> None:
    append_line(log, "vendor_monthly")


class Report(Task):
    """An abstract base whose `run` is tracked; each report inherits it."""

    abstract = True

    @telltale.tracked
    def run(self, log: str) -> None:
        append_line(log, self.name)


class SalesReport(Report):
    """A report that has its name from its class."""


class StockReport(Report):
    """A report with a name of its own."""

    name = "tests.reports.stock_by_month"


for report in (SalesReport, StockReport):
    current_app.register_task(report())


@shared_task
def untracked(log: str) -> None:
    append_line(log, "untracked")


@shared_task
@telltale.tracked
def sleep(log: str) -> None:
    TaskFunctions.sleep(log)


def _nap(duration_ms: int) -> None:
    if duration_ms:
        time.sleep(duration_ms / 1_000)
    _redis().incr("naps")


@cache
def _redis() -> Redis:
    return Redis.from_url(os.environ["REDIS_URL"])


nap_untracked = shared_task(name="tests.nap_untracked")(_nap)
nap = shared_task(name="tests.nap")(telltale.tracked(_nap))


def _nap_and_read(duration_ms: int) -> None:
    get_user_model().objects.exists()
    _nap(duration_ms)


nap_and_read_untracked = shared_task(name="tests.nap_and_read_untracked")(_nap_and_read)
nap_and_read = shared_task(name="tests.nap_and_read")(telltale.tracked(_nap_and_read))


@shared_task
@telltale.tracked
def compute(log: str, seconds: float) -> None:
    """Compute without a pause in which another greenlet could run."""
    append_line(log, "compute")
    end_at = time.monotonic() + seconds
    for _ in telltale.progress(range(10**9), message="Computing"):
        if time.monotonic() >= end_at:
            break


@shared_task(soft_time_limit=1, time_limit=10)
@telltale.tracked
def exceed_soft_limit(log: str) -> None:
    append_line(log, "exceed_soft_limit")
    time.sleep(20)


@shared_task(time_limit=1)
@telltale.tracked
def exceed_hard_limit(log: str) -> None:
    append_line(log, "exceed_hard_limit")
    time.sleep(20)


@shared_task(bind=True, acks_late=True)
@telltale.tracked
def reject(self: Any, log: str, requeue: bool) -> None:
    append_line(log, "reject")
    if Path(log).read_text().count("reject") == 1:
        raise Reject("not now", requeue=requeue)


@shared_task(acks_late=True, reject_on_worker_lost=True)
@telltale.tracked
def die_once(log: str) -> None:
    append_line(log, "die_once")
    if Path(log).read_text().count("die_once") == 1:
        os.kill(os.getpid(), signal.SIGKILL)


@shared_task(acks_late=True)
@telltale.tracked
def redelivered(log: str, file: str) -> None:
    TaskFunctions.wait_for_file(log, file)


@shared_task(autoretry_for=(ConnectionError,), max_retries=1, retry_backoff=3, retry_jitter=False)
@telltale.tracked
def retry_with_backoff(log: str) -> None:
    append_line(log, "retry_with_backoff")
    raise ConnectionError("down")


@shared_task
@telltale.tracked
def wait_silently(log: str, file: str) -> None:
    """Run until `file` exists, without reporting progress."""
    append_line(log, "wait_silently")
    while not Path(file).exists():
        time.sleep(0.05)


@shared_task
@telltale.tracked
def write_firmware(log: str, file: str) -> None:
    with telltale.no_cancel("Writing the firmware"):
        wait_silently(log, file)


@shared_task
@telltale.tracked
def add_up(values: list[object], log: str) -> None:
    append_line(log, "add_up")


@shared_task
@telltale.tracked
def stop_at(log: str, point: str) -> None:
    crash_points.stop_at(log, point)


@shared_task
@transaction.atomic
@telltale.tracked
def fail_in_transaction(log: str) -> None:
    """The site's transaction is rolled back."""
    TaskFunctions.fail(log)
