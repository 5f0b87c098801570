"""The tests' tasks for Celery."""

import os
import signal
import time
from functools import cache
from pathlib import Path
from typing import Any

from celery import shared_task
from celery.exceptions import Ignore, Reject
from redis import Redis

import telltale
from telltale.testing.runners import Work, write


@shared_task
@telltale.tracked
def count(log: str, steps: int, pause_s: float) -> None:
    Work.count(log, steps, pause_s)


@shared_task
@telltale.tracked
def fail(log: str) -> None:
    Work.fail(log)


@shared_task
@telltale.tracked
def crash(log: str) -> None:
    Work.crash(log)


@shared_task
@telltale.tracked
def hold(log: str, gate: str) -> None:
    Work.hold(log, gate)


@shared_task
@telltale.tracked
def rows(log: str) -> None:
    Work.rows(log)


@shared_task
def track_rows(log: str) -> None:
    """Not tracked itself: a piece of its work is."""
    with telltale.track("Rows"):
        Work.rows(log)


@shared_task(bind=True, max_retries=3)
@telltale.tracked
def retry_once(self: Any, log: str) -> None:
    write(log, "retry_once")
    if self.request.retries == 0:
        raise self.retry(countdown=0.2)


@shared_task(autoretry_for=(ConnectionError,), max_retries=1, default_retry_delay=0)
@telltale.tracked
def autoretry(log: str) -> None:
    write(log, "autoretry")
    raise ConnectionError("down")


@shared_task(bind=True)
@telltale.tracked
def ignore(self: Any) -> None:
    raise Ignore


@shared_task(bind=True)
@telltale.tracked
def hand_on(self: Any, log: str) -> None:
    write(log, "hand_on")
    raise self.replace(count.si(log, 2, 0.0))


@shared_task
@telltale.tracked
def begin_a_child(log: str) -> None:
    write(log, "begin_a_child")
    count.delay(log, 1, 0.0)


@shared_task
@telltale.tracked
def kill_own_process(log: str) -> None:
    write(log, "kill_own_process")
    os.kill(os.getpid(), signal.SIGKILL)


@shared_task(bind=True)
def follow_me(self: Any, log: str) -> None:
    """Another package's, as it were: nobody can put a decorator on it."""
    write(log, "follow_me")


telltale.follow("tests.app.celery_tasks.theirs_*", label="Somebody else's")


@shared_task
def theirs_monthly(log: str) -> None:
    write(log, "theirs_monthly")


@shared_task
def untracked(log: str) -> None:
    write(log, "untracked")


@shared_task
@telltale.tracked
def deaf(log: str) -> None:
    Work.deaf(log)


def _nap(duration_ms: int) -> None:
    if duration_ms:
        time.sleep(duration_ms / 1_000)
    _redis().incr("naps")


@cache
def _redis() -> Redis:
    return Redis.from_url(os.environ["REDIS_URL"])


nap_untracked = shared_task(name="tests.nap_untracked")(_nap)
nap = shared_task(name="tests.nap")(telltale.tracked(_nap))


@shared_task
@telltale.tracked
def compute(log: str, seconds: float) -> None:
    """Pure computing, that lets no greenlet have its turn."""
    write(log, "compute")
    until = time.monotonic() + seconds
    for _ in telltale.progress(range(10**9), message="Computing"):
        if time.monotonic() >= until:
            break


@shared_task(soft_time_limit=1, time_limit=10)
@telltale.tracked
def outlast(log: str) -> None:
    write(log, "outlast")
    time.sleep(20)


@shared_task(time_limit=1)
@telltale.tracked
def outlast_all(log: str) -> None:
    write(log, "outlast_all")
    time.sleep(20)


@shared_task(bind=True, acks_late=True)
@telltale.tracked
def reject(self: Any, log: str, requeue: bool) -> None:
    write(log, "reject")
    if lines(log).count("reject") == 1:
        raise Reject("not now", requeue=requeue)


@shared_task(acks_late=True, reject_on_worker_lost=True)
@telltale.tracked
def die_once(log: str) -> None:
    write(log, "die_once")
    if lines(log).count("die_once") == 1:
        os.kill(os.getpid(), signal.SIGKILL)


@shared_task(acks_late=True)
@telltale.tracked
def hold_late(log: str, gate: str) -> None:
    Work.hold(log, gate)


@shared_task(autoretry_for=(ConnectionError,), max_retries=1, retry_backoff=2, retry_jitter=False)
@telltale.tracked
def back_off(log: str) -> None:
    write(log, "back_off")
    raise ConnectionError("down")


@shared_task
@telltale.tracked
def hush(log: str, gate: str) -> None:
    """Work without a word of progress until the gate opens."""
    write(log, "hush")
    while not Path(gate).exists():
        time.sleep(0.05)


@shared_task
@telltale.tracked
def write_firmware(log: str, gate: str) -> None:
    with telltale.no_cancel("Writing the firmware"):
        hush(log, gate)


@shared_task
@telltale.tracked
def add_up(values: list[object], log: str) -> None:
    write(log, "add_up")


def lines(log: str) -> list[str]:
    return Path(log).read_text().split()
