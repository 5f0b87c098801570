"""Why a task of Celery waits: how many tasks are before it, and whether a worker is listening."""

from pathlib import Path
from typing import Any

import pytest

import telltale
from telltale import store
from telltale.core.states import State
from telltale.dispatch.queue_status import request_queue_status
from telltale.testing.runners import reload, wait_for_end, wait_until
from tests.app import celery_tasks
from tests.runners.workers import SHORT_DURATIONS, WorkerProcess

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.service]


@pytest.fixture(autouse=True)
def short_intervals(settings: Any) -> None:
    settings.TELLTALE = {"BROKER": "memory://", "QUEUE_STATUS_EVERY_S": 0.5, **SHORT_DURATIONS}


def test_a_queue_without_a_worker_is_shown_as_such_until_a_worker_starts(
    celery_worker: WorkerProcess, tmp_path: Path
) -> None:
    celery_worker.pause()
    row = telltale.enqueue(celery_tasks.count, str(tmp_path / "log"), 1, 0.0)
    request_queue_status([reload(row).snapshot], now=store.now() + 10)
    wait_until(lambda: _queue_status(row) == (0, False), "no worker is listening")
    celery_worker.start()
    assert wait_for_end(row).state == State.SUCCEEDED


def _queue_status(row: Any) -> tuple[int | None, bool | None]:
    return reload(row).snapshot.ahead, reload(row).snapshot.is_listening
