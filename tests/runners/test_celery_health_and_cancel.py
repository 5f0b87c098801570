"""Running Celery tasks: their health, their cancellation, and the writes of a thousand short ones."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import telltale
from telltale import conf, store
from telltale.core.health import health
from telltale.core.states import Health, State
from telltale.models import TaskState, UsualDuration
from telltale.testing.runners import logged_lines, reload, wait_for_end, wait_until
from tests.app import celery_tasks
from tests.runners.conftest import RunWorker
from tests.runners.workers import SHORT_DURATIONS, WorkerProcess, celery_command
from tests.servers import Redis

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.service]


def health_of(row: TaskState) -> Health | None:
    """The health that a page shows."""
    return health(reload(row).snapshot, now=store.now(), limits=conf.settings().limits)


def wait_for_renewals(row: TaskState) -> None:
    """Wait until the worker has renewed the lease several times."""
    lease_until = reload(row).lease_until
    wait_until(lambda: reload(row).lease_until > lease_until + 3 * SHORT_DURATIONS["BEAT_S"], "the lease is renewed")


class TestHealth:
    def test_a_task_that_hangs_in_a_live_process_is_quiet_and_never_lost(
        self, celery_worker: WorkerProcess, tmp_path: Path, settings: Any
    ) -> None:
        settings.TELLTALE = {**settings.TELLTALE, "QUIET_S": 1.5}
        celery_worker.start()
        file = tmp_path / "file"
        row = telltale.enqueue(celery_tasks.wait_silently, str(tmp_path / "log"), str(file))
        wait_until(lambda: reload(row).state == State.RUNNING, "it runs")
        wait_until(lambda: health_of(row) == Health.QUIET, "it is quiet")
        wait_for_renewals(row)
        assert health_of(row) == Health.QUIET
        file.touch()
        ended = wait_for_end(row)
        assert (ended.state, ended.attempt) == (State.SUCCEEDED, 1)

    def test_a_task_that_takes_longer_than_usual_is_slow(self, celery_worker: WorkerProcess, tmp_path: Path) -> None:
        UsualDuration.objects.create(name="tests.app.celery_tasks.wait_for_file", durations_s=[0.5] * 20)
        celery_worker.start()
        file = tmp_path / "file"
        row = telltale.enqueue(celery_tasks.wait_for_file, str(tmp_path / "log"), str(file))
        wait_until(lambda: reload(row).state == State.RUNNING, "it runs")
        wait_until(lambda: health_of(row) == Health.SLOW, "it is slow")
        wait_for_renewals(row)
        assert health_of(row) == Health.SLOW
        file.touch()
        assert wait_for_end(row).state == State.SUCCEEDED


class TestCancel:
    def test_a_task_that_must_not_be_cancelled_shows_the_reason_and_continues(
        self, celery_worker: WorkerProcess, tmp_path: Path
    ) -> None:
        celery_worker.start()
        file = tmp_path / "file"
        row = telltale.enqueue(celery_tasks.write_firmware, str(tmp_path / "log"), str(file))
        wait_until(lambda: reload(row).snapshot.no_cancel == "Writing the firmware", "the reason is shown")
        assert telltale.cancel(row)
        assert telltale.cancel(row), "a second request is harmless"
        time.sleep(2 * SHORT_DURATIONS["SAVE_EVERY_S"])
        assert (reload(row).state, reload(row).snapshot.cancel_requested) == (State.RUNNING, True)
        file.touch()
        ended = wait_for_end(row)
        assert (ended.state, ended.attempt) == (State.SUCCEEDED, 1)

    def test_a_task_that_is_cancelled_before_its_worker_was_killed_does_not_run_again(
        self, celery_worker: WorkerProcess, tmp_path: Path
    ) -> None:
        celery_worker.start()
        row = telltale.enqueue(celery_tasks.sleep, str(tmp_path / "log"))
        wait_until(lambda: logged_lines(tmp_path) == ["sleep"], "it runs")
        assert telltale.cancel(row)
        celery_worker.kill()
        wait_until(lambda: reload(row).ended_at is not None, "its lease expires")
        celery_worker.start()
        celery_tasks.sleep.apply_async((str(tmp_path / "log"),), task_id=reload(row).runner_id, headers=header_of(row))
        later = telltale.enqueue(celery_tasks.count, str(tmp_path / "log_of_later"), 1, 0.0)
        assert (wait_for_end(later).state, logged_lines(tmp_path)) == (State.SUCCEEDED, ["sleep"])


@pytest.fixture
def worker_that_rarely_saves(redis: Redis, run_worker: RunWorker, settings: Any) -> Iterator[WorkerProcess]:
    """A worker that saves, and so reads its rows, only every few minutes. Only a broker reaches it sooner."""
    redis.forget()
    settings.TELLTALE = {**settings.TELLTALE, "BROKER": redis.url}
    yield from run_worker(
        celery_tasks,
        celery_command(concurrency=1),
        " ready.",
        TELLTALE_BROKER=redis.url,
        TELLTALE_SAVE_EVERY_S="200",
        TELLTALE_LEASE_S="600",
        TELLTALE_STALLED_S="500",
    )


class TestBroker:
    def test_the_broker_delivers_a_cancellation_at_once(
        self, worker_that_rarely_saves: WorkerProcess, tmp_path: Path
    ) -> None:
        worker_that_rarely_saves.start()
        row = telltale.enqueue(celery_tasks.wait_for_file, str(tmp_path / "log"), str(tmp_path / "file"))
        wait_until(lambda: logged_lines(tmp_path) == ["wait_for_file"], "it runs")
        # Again and again: the reporter starts to listen with its first task.
        wait_until(lambda: not telltale.cancel(row), "it is cancelled, long before the next save")
        assert wait_for_end(row).state == State.CANCELLED


def header_of(row: TaskState) -> dict[str, Any]:
    from telltale.dispatch.task_header import HEADER, TaskHeader
    from telltale.owners import Owner

    return {HEADER: TaskHeader(task_id=row.pk, owner=Owner()).to_json()}


class TestThousands:
    def test_no_end_of_a_thousand_tasks_is_lost_and_each_task_costs_at_most_three_writes(
        self, celery_worker: WorkerProcess, count_writes: Callable[[], int]
    ) -> None:
        celery_worker.pause()
        for _ in range(1_000):
            celery_tasks.nap.delay(0)
        celery_worker.start()
        wait_until(lambda: not TaskState.objects.filter(ended_at=None).exists(), "all have ended", timeout_s=150)
        assert TaskState.objects.filter(state=State.SUCCEEDED, attempt=1).count() == 1_000
        # In addition, each child process saves the usual duration every ten seconds.
        assert count_writes() <= 3 * 1_000 + 100
