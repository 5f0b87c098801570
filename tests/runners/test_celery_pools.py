"""Celery's pools and message brokers: whichever a site has, the same is shown."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import telltale
from telltale.core.states import State
from telltale.models import TaskState
from telltale.testing.runners import logged_lines, reload, wait_for_end, wait_until
from tests.app import celery_app, celery_tasks
from tests.app.celery import folder_options
from tests.runners.conftest import RunWorker
from tests.runners.workers import WorkerProcess, celery_broker_at, celery_command
from tests.servers import RabbitMQ, Redis, running

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.service]


@pytest.fixture(scope="class", params=["threads", "solo", "gevent"])
def pool(request: pytest.FixtureRequest, redis: Redis, run_worker: RunWorker) -> Iterator[WorkerProcess]:
    redis.forget()
    yield from run_worker(celery_tasks, celery_command(pool=request.param), " ready.")


class TestPools:
    def test_a_task_is_shown_from_its_queue_to_its_end(self, pool: WorkerProcess, tmp_path: Path) -> None:
        pool.start()
        row = wait_for_end(telltale.enqueue(celery_tasks.count, str(tmp_path / "log"), 5, 0.01))
        assert (row.state, row.attempt, row.result) == (State.SUCCEEDED, 1, "/counted/")

    def test_progress_is_live_though_the_task_computes_without_a_pause(
        self, pool: WorkerProcess, tmp_path: Path
    ) -> None:
        pool.start()
        row = telltale.enqueue(celery_tasks.compute, str(tmp_path / "log"), 3.0)
        seen = set()
        while not (now := reload(row).snapshot).ended:
            seen.add(now.progress.current)
        assert len(seen - {None, 0}) >= 3
        assert wait_for_end(row).state == State.SUCCEEDED

    def test_what_runs_is_asked_to_stop_and_stops(self, pool: WorkerProcess, tmp_path: Path) -> None:
        pool.start()
        row = telltale.enqueue(celery_tasks.wait_for_file, str(tmp_path / "log"), str(tmp_path / "file"))
        wait_until(lambda: reload(row).state == State.RUNNING, "it runs")
        telltale.cancel(row)
        assert wait_for_end(row).state == State.CANCELLED

    @pytest.mark.parametrize("task", [celery_tasks.catch_exceptions, celery_tasks.catch_exceptions_in_block])
    def test_a_cancellation_passes_what_catches_exceptions_and_spares_the_worker(
        self, pool: WorkerProcess, tmp_path: Path, task: Any
    ) -> None:
        pool.start()
        task.delay(str(tmp_path / "log"))
        wait_until(lambda: TaskState.objects.filter(state=State.RUNNING).exists(), "it runs")
        row = TaskState.objects.get()
        telltale.cancel(row)
        assert wait_for_end(row).state == State.CANCELLED
        later = telltale.enqueue(celery_tasks.count, str(tmp_path / "log_of_later"), 1, 0.0)
        assert (wait_for_end(later).state, pool.is_alive()) == (State.SUCCEEDED, True)
        assert (reload(row).state, reload(row).attempt, logged_lines(tmp_path)) == (
            State.CANCELLED,
            1,
            ["catch_exceptions"],
        )


@pytest.fixture(scope="class", params=["rabbitmq", "files"])
def message_broker(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, run_worker: RunWorker
) -> Iterator[WorkerProcess]:
    before = celery_app.conf.broker_transport_options
    if request.param == "rabbitmq":
        celery_app.conf.broker_transport_options = {}
        with running(RabbitMQ) as server, celery_broker_at(server.url):
            yield from run_worker(celery_tasks, celery_command(), " ready.", CELERY_BROKER=server.url)
    else:
        folder = str(tmp_path_factory.mktemp("folder"))
        celery_app.conf.broker_transport_options = folder_options(folder)
        with celery_broker_at("filesystem://"):
            extra = {"CELERY_BROKER": "filesystem://", "CELERY_FOLDER": folder}
            yield from run_worker(celery_tasks, celery_command(), " ready.", **extra)
    celery_app.conf.broker_transport_options = before


class TestMessageBrokers:
    def test_a_task_is_queued_and_visible_before_a_worker_begins(
        self, message_broker: WorkerProcess, tmp_path: Path
    ) -> None:
        row = telltale.enqueue(celery_tasks.count, str(tmp_path / "log"), 5, 0.01)
        assert reload(row).state == State.QUEUED
        message_broker.start()
        ended = wait_for_end(row)
        assert (ended.state, ended.attempt) == (State.SUCCEEDED, 1)

    def test_what_was_cancelled_while_queued_never_runs(self, message_broker: WorkerProcess, tmp_path: Path) -> None:
        message_broker.pause()
        row = telltale.enqueue(celery_tasks.count, str(tmp_path / "log"), 3, 0.0)
        assert telltale.cancel(row)
        message_broker.start()
        later = telltale.enqueue(celery_tasks.count, str(tmp_path / "log_of_later"), 1, 0.0)
        assert wait_for_end(later).state == State.SUCCEEDED
        assert (logged_lines(tmp_path), reload(row).state) == ([], State.CANCELLED)
