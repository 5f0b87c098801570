"""`channels://` in Celery workers: progress reaches the web process, and a cancellation the task, in each pool."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction

import telltale
from telltale import brokers
from telltale.brokers.base import SelectiveListener
from telltale.core.states import State
from telltale.core.topics import task_topic
from telltale.core.wire import Envelope
from telltale.models import TaskState
from telltale.testing.brokers import Received, assert_eventually
from telltale.testing.runners import logged_lines, wait_for_end, wait_until
from tests.app import celery_tasks
from tests.channels.layers import CORE, PUBSUB, layers
from tests.dispatch.conftest import short_durations
from tests.runners.conftest import RunWorker, redis, run_worker
from tests.runners.workers import WorkerProcess, celery_command
from tests.servers import Redis

__all__ = ["redis", "run_worker", "short_durations"]  # fixtures of this file too

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.service]


@pytest.fixture(params=[CORE, PUBSUB])
def backend(request: pytest.FixtureRequest, redis: Redis, settings: Any, short_durations: None) -> str:
    """The layer of the tests' process."""
    redis.forget()
    settings.CHANNEL_LAYERS = layers(request.param, redis.url)
    settings.TELLTALE = {**settings.TELLTALE, "BROKER": "channels://"}
    return str(request.param)


@pytest.fixture(params=["prefork", "threads", "gevent"])
def worker(
    request: pytest.FixtureRequest, backend: str, redis: Redis, run_worker: RunWorker
) -> Iterator[WorkerProcess]:
    """A worker that saves, and so reads its rows, only every few minutes. Only the broker is sooner."""
    yield from run_worker(
        celery_tasks,
        celery_command(pool=request.param),
        " ready.",
        DJANGO_SETTINGS_MODULE="tests.channels.runner.settings",
        TELLTALE_TEST_LAYER=redis.url,
        **({"TELLTALE_TEST_PUBSUB": "yes"} if backend == PUBSUB else {}),
        TELLTALE_BROKER="channels://",
        TELLTALE_SAVE_EVERY_S="200",
        TELLTALE_LEASE_S="600",
        TELLTALE_STALLED_S="500",
    )


def follow(row: TaskState) -> Received:
    """What the broker carries of the task, to this process."""
    received = Received()
    listener = brokers.broker().listen(received.deliver, received.on_missed)
    assert isinstance(listener, SelectiveListener)
    listener.follow([task_topic(row.pk)])
    return received


def test_progress_is_received_and_a_cancellation_is_delivered_at_once(worker: WorkerProcess, tmp_path: Path) -> None:
    worker.start()
    with transaction.atomic():  # The task begins after the commit.
        row = telltale.enqueue(celery_tasks.count, str(tmp_path / "log"), 20, 0.1)
        received = follow(row)
    assert wait_for_end(row).state == State.SUCCEEDED

    def received_state() -> State:
        snapshots = [Envelope.from_bytes(body).snapshot for body in received]
        return snapshots[-1].state if snapshots and snapshots[-1] else State.QUEUED

    assert_eventually(lambda: received_state() == State.SUCCEEDED, "the end is received")
    assert len(received) >= 5

    row = telltale.enqueue(celery_tasks.wait_for_file, str(tmp_path / "log"), str(tmp_path / "file"))
    wait_until(lambda: "wait_for_file" in logged_lines(tmp_path), "it runs")
    # Again and again: the reporter starts to listen with its first task.
    wait_until(lambda: not telltale.cancel(row), "it is cancelled, long before the next save")
    assert wait_for_end(row).state == State.CANCELLED
