"""The tests' tasks for Celery."""

import os
import signal
from typing import Any

from celery import shared_task
from celery.exceptions import Ignore

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


@shared_task
def untracked(log: str) -> None:
    write(log, "untracked")


@shared_task
@telltale.tracked
def deaf(log: str) -> None:
    Work.deaf(log)
