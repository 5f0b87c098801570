"""Celery's pools and message brokers: whichever a site has, the same is shown."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import telltale
from telltale.core.states import State
from telltale.models import TaskState
from tests.app import celery_app, celery_tasks
from tests.app.celery import folders
from tests.runners.benches import ProcessBench, celery_command, publishing_to
from tests.runners.conftest import Start
from tests.runners.watching import ended, fresh, lines, until
from tests.servers import RabbitMQ, Redis, running

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.service]


@pytest.fixture(scope="class", params=["threads", "solo", "gevent"])
def pool(request: pytest.FixtureRequest, redis: Redis, start: Start) -> Iterator[ProcessBench]:
    redis.forget()
    yield from start(celery_tasks, celery_command(pool=request.param), " ready.")


class TestPools:
    def test_a_task_is_shown_from_its_queue_to_its_end(self, pool: ProcessBench, tmp_path: Path) -> None:
        pool.start()
        row = ended(telltale.enqueue(celery_tasks.count, str(tmp_path / "log"), 5, 0.01))
        assert (row.state, row.attempt, row.result) == (State.SUCCEEDED, 1, "/counted/")

    def test_progress_is_live_though_the_task_computes_without_a_pause(
        self, pool: ProcessBench, tmp_path: Path
    ) -> None:
        pool.start()
        row = telltale.enqueue(celery_tasks.compute, str(tmp_path / "log"), 3.0)
        seen = set()
        while not (now := fresh(row).snapshot).ended:
            seen.add(now.progress.current)
        assert len(seen - {None, 0}) >= 3
        assert ended(row).state == State.SUCCEEDED

    def test_what_runs_is_asked_to_stop_and_stops(self, pool: ProcessBench, tmp_path: Path) -> None:
        pool.start()
        row = telltale.enqueue(celery_tasks.hold, str(tmp_path / "log"), str(tmp_path / "gate"))
        until(lambda: fresh(row).state == State.RUNNING, "it runs")
        telltale.cancel(row)
        assert ended(row).state == State.CANCELLED

    @pytest.mark.parametrize("task", [celery_tasks.rows, celery_tasks.track_rows])
    def test_a_cancellation_passes_what_catches_exceptions_and_spares_the_worker(
        self, pool: ProcessBench, tmp_path: Path, task: Any
    ) -> None:
        pool.start()
        task.delay(str(tmp_path / "log"))
        until(lambda: TaskState.objects.filter(state=State.RUNNING).exists(), "it runs")
        row = TaskState.objects.get()
        telltale.cancel(row)
        assert ended(row).state == State.CANCELLED
        after = telltale.enqueue(celery_tasks.count, str(tmp_path / "log2"), 1, 0.0)
        assert (ended(after).state, pool.is_alive()) == (State.SUCCEEDED, True)
        assert (fresh(row).state, fresh(row).attempt, lines(tmp_path)) == (State.CANCELLED, 1, ["rows"])


@pytest.fixture(scope="class", params=["rabbitmq", "files"])
def message_broker(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, start: Start
) -> Iterator[ProcessBench]:
    before = celery_app.conf.broker_transport_options
    if request.param == "rabbitmq":
        celery_app.conf.broker_transport_options = {}
        with running(RabbitMQ) as server, publishing_to(server.url):
            yield from start(celery_tasks, celery_command(), " ready.", CELERY_BROKER=server.url)
    else:
        folder = str(tmp_path_factory.mktemp("folder"))
        celery_app.conf.broker_transport_options = folders(folder)
        with publishing_to("filesystem://"):
            extra = {"CELERY_BROKER": "filesystem://", "CELERY_FOLDER": folder}
            yield from start(celery_tasks, celery_command(), " ready.", **extra)
    celery_app.conf.broker_transport_options = before


class TestMessageBrokers:
    def test_a_task_is_queued_and_visible_before_a_worker_begins(
        self, message_broker: ProcessBench, tmp_path: Path
    ) -> None:
        row = telltale.enqueue(celery_tasks.count, str(tmp_path / "log"), 5, 0.01)
        assert fresh(row).state == State.QUEUED
        message_broker.start()
        assert (ended(row).state, ended(row).attempt) == (State.SUCCEEDED, 1)

    def test_what_was_cancelled_while_queued_never_runs(self, message_broker: ProcessBench, tmp_path: Path) -> None:
        message_broker.pause()
        row = telltale.enqueue(celery_tasks.count, str(tmp_path / "log"), 3, 0.0)
        assert telltale.cancel(row)
        message_broker.start()
        after = telltale.enqueue(celery_tasks.count, str(tmp_path / "log2"), 1, 0.0)
        assert ended(after).state == State.SUCCEEDED
        assert (lines(tmp_path), fresh(row).state) == ([], State.CANCELLED)
