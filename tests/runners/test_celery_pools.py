"""Tasks are shown in the same way with each of Celery's pools and message brokers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import telltale
from telltale.core.states import State
from telltale.models import TaskState
from telltale.runners.celery import CeleryRunner
from telltale.testing.runners import logged_lines, reload, wait_for_end, wait_until
from tests.app import celery_app, celery_tasks
from tests.app.celery import folder_options
from tests.runners.conftest import RunWorker
from tests.runners.workers import WorkerProcess, celery_broker_at, celery_command
from tests.servers import RabbitMQ, Redis, running

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.service]


@pytest.fixture(scope="class", params=["threads", "solo", "gevent"])
def pool_worker(request: pytest.FixtureRequest, redis: Redis, run_worker: RunWorker) -> Iterator[WorkerProcess]:
    redis.forget()
    yield from run_worker(celery_tasks, celery_command(pool=request.param), " ready.")


class TestPools:
    def test_a_task_runs_and_ends(self, pool_worker: WorkerProcess, tmp_path: Path) -> None:
        pool_worker.start()
        row = wait_for_end(telltale.enqueue(celery_tasks.count, str(tmp_path / "log"), 5, 0.01))
        assert (row.state, row.attempt, row.result) == (State.SUCCEEDED, 1, "/counted/")

    def test_progress_is_live_although_the_task_computes_without_a_pause(
        self, pool_worker: WorkerProcess, tmp_path: Path
    ) -> None:
        pool_worker.start()
        row = telltale.enqueue(celery_tasks.compute, str(tmp_path / "log"), 100.0)
        values: set[float | None] = set()

        def are_different() -> bool:
            values.add(reload(row).snapshot.progress.current)
            return len(values - {None, 0}) >= 3

        wait_until(are_different, "different values are read")
        assert telltale.cancel(row)
        assert wait_for_end(row).state == State.CANCELLED

    def test_a_running_task_that_is_cancelled_stops(self, pool_worker: WorkerProcess, tmp_path: Path) -> None:
        pool_worker.start()
        row = telltale.enqueue(celery_tasks.wait_for_file, str(tmp_path / "log"), str(tmp_path / "file"))
        wait_until(lambda: reload(row).state == State.RUNNING, "it runs")
        telltale.cancel(row)
        assert wait_for_end(row).state == State.CANCELLED

    @pytest.mark.parametrize("task", [celery_tasks.catch_exceptions, celery_tasks.catch_exceptions_in_block])
    def test_a_task_that_catches_all_exceptions_is_cancelled_and_the_worker_continues(
        self, pool_worker: WorkerProcess, tmp_path: Path, task: Any
    ) -> None:
        pool_worker.start()
        task.delay(str(tmp_path / "log"))
        wait_until(lambda: TaskState.objects.filter(state=State.RUNNING).exists(), "it runs")
        row = TaskState.objects.get()
        telltale.cancel(row)
        assert wait_for_end(row).state == State.CANCELLED
        later = telltale.enqueue(celery_tasks.count, str(tmp_path / "log_of_later"), 1, 0.0)
        assert (wait_for_end(later).state, pool_worker.is_alive()) == (State.SUCCEEDED, True)
        assert (reload(row).state, reload(row).attempt, logged_lines(tmp_path)) == (
            State.CANCELLED,
            1,
            ["catch_exceptions"],
        )


@pytest.fixture(scope="class")
def gevent_worker(redis: Redis, run_worker: RunWorker) -> Iterator[WorkerProcess]:
    redis.forget()
    yield from run_worker(celery_tasks, celery_command(pool="gevent"), " ready.")


class TestGevent:
    def test_a_task_that_is_cancelled_by_force_is_cancelled_and_the_worker_continues(
        self, gevent_worker: WorkerProcess, tmp_path: Path
    ) -> None:
        gevent_worker.start()
        row = telltale.enqueue(celery_tasks.sleep, str(tmp_path / "log"))
        wait_until(lambda: reload(row).state == State.RUNNING and logged_lines(tmp_path) == ["sleep"], "it runs")
        assert telltale.cancel(row, force=True)
        assert (wait_for_end(row).state, reload(row).error) == (State.CANCELLED, None)
        later = telltale.enqueue(celery_tasks.count, str(tmp_path / "log_of_later"), 1, 0.0)
        assert wait_for_end(later).state == State.SUCCEEDED
        assert (reload(row).state, reload(row).attempt) == (State.CANCELLED, 1)


@pytest.fixture(scope="class", params=["rabbitmq", "files"])
def worker(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, run_worker: RunWorker
) -> Iterator[WorkerProcess]:
    options_before = celery_app.conf.broker_transport_options
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
    celery_app.conf.broker_transport_options = options_before


class TestMessageBrokers:
    def test_a_queued_task_is_visible_before_a_worker_starts_it(self, worker: WorkerProcess, tmp_path: Path) -> None:
        worker.pause()
        row = telltale.enqueue(celery_tasks.count, str(tmp_path / "log"), 5, 0.01)
        assert reload(row).state == State.QUEUED
        assert CeleryRunner().has_message(celery_tasks.count, row.runner_id) is None, "it can't be asked"
        worker.start()
        ended = wait_for_end(row)
        assert (ended.state, ended.attempt) == (State.SUCCEEDED, 1)

    def test_f10_a_task_that_is_cancelled_while_queued_never_runs(self, worker: WorkerProcess, tmp_path: Path) -> None:
        worker.pause()
        row = telltale.enqueue(celery_tasks.count, str(tmp_path / "log"), 3, 0.0)
        assert telltale.cancel(row)
        worker.start()
        later = telltale.enqueue(celery_tasks.count, str(tmp_path / "log_of_later"), 1, 0.0)
        assert wait_for_end(later).state == State.SUCCEEDED
        assert (logged_lines(tmp_path), reload(row).state) == ([], State.CANCELLED)
