"""What people wait for and ask of running Celery tasks: silence, slowness, a request to stop, a point of no return."""

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


def healths_for(duration_s: float, row: TaskState) -> list[Health | None]:
    """Those that a reader sees one after another, each once."""
    seen: list[Health | None] = []
    until_at = time.monotonic() + duration_s
    while time.monotonic() < until_at:
        now = health(reload(row).snapshot, now=store.now(), limits=conf.settings().limits)
        seen += [now] if now not in seen else []
        time.sleep(0.05)
    return seen


class TestHealth:
    def test_a_hung_task_of_a_living_process_is_quiet_and_never_lost(
        self, celery_worker: WorkerProcess, tmp_path: Path, settings: Any
    ) -> None:
        settings.TELLTALE = {**settings.TELLTALE, "QUIET_S": 1.5}
        celery_worker.start()
        file = tmp_path / "file"
        row = telltale.enqueue(celery_tasks.wait_silently, str(tmp_path / "log"), str(file))
        wait_until(lambda: reload(row).state == State.RUNNING, "it runs")
        seen = healths_for(2 * SHORT_DURATIONS["LEASE_S"], row)
        file.touch()
        assert seen[-1] == Health.QUIET
        ended = wait_for_end(row)
        assert (ended.state, ended.attempt) == (State.SUCCEEDED, 1)

    def test_a_task_that_takes_longer_than_usual_is_slow(self, celery_worker: WorkerProcess, tmp_path: Path) -> None:
        UsualDuration.objects.create(name="tests.app.celery_tasks.wait_for_file", durations_s=[0.5] * 20)
        celery_worker.start()
        file = tmp_path / "file"
        row = telltale.enqueue(celery_tasks.wait_for_file, str(tmp_path / "log"), str(file))
        wait_until(lambda: reload(row).state == State.RUNNING, "it runs")
        seen = healths_for(SHORT_DURATIONS["LEASE_S"], row)
        file.touch()
        assert seen[-1] == Health.SLOW
        assert wait_for_end(row).state == State.SUCCEEDED


class TestCancel:
    def test_what_must_not_be_cancelled_says_why_and_goes_on_to_its_end(
        self, celery_worker: WorkerProcess, tmp_path: Path
    ) -> None:
        celery_worker.start()
        file = tmp_path / "file"
        row = telltale.enqueue(celery_tasks.write_firmware, str(tmp_path / "log"), str(file))
        wait_until(lambda: reload(row).snapshot.no_cancel == "Writing the firmware", "the page can say why")
        assert telltale.cancel(row)
        assert telltale.cancel(row), "asking again is harmless"
        time.sleep(2 * SHORT_DURATIONS["SAVE_EVERY_S"])
        assert (reload(row).state, reload(row).snapshot.cancel_requested) == (State.RUNNING, True)
        file.touch()
        ended = wait_for_end(row)
        assert (ended.state, ended.attempt) == (State.SUCCEEDED, 1)

    def test_a_request_outlives_the_worker_and_its_successor_does_not_begin(
        self, celery_worker: WorkerProcess, tmp_path: Path
    ) -> None:
        celery_worker.start()
        row = telltale.enqueue(celery_tasks.sleep, str(tmp_path / "log"))
        wait_until(lambda: logged_lines(tmp_path) == ["sleep"], "it runs")
        assert telltale.cancel(row)
        celery_worker.kill()
        wait_until(lambda: reload(row).ended_at is not None, "its lease lapses")
        celery_worker.start()
        celery_tasks.sleep.apply_async((str(tmp_path / "log"),), task_id=reload(row).runner_id, headers=carried(row))
        later = telltale.enqueue(celery_tasks.count, str(tmp_path / "log_of_later"), 1, 0.0)
        assert (wait_for_end(later).state, logged_lines(tmp_path)) == (State.SUCCEEDED, ["sleep"])


@pytest.fixture
def carrying(redis: Redis, run_worker: RunWorker, settings: Any) -> Iterator[WorkerProcess]:
    """A worker that saves twice a minute, so that only a broker can tell it anything in the meantime."""
    redis.forget()
    settings.TELLTALE = {**settings.TELLTALE, "BROKER": redis.url}
    yield from run_worker(
        celery_tasks,
        celery_command(concurrency=1),
        " ready.",
        TELLTALE_BROKER=redis.url,
        TELLTALE_SAVE_EVERY_S="30",
        TELLTALE_LEASE_S="100",
        TELLTALE_STALLED_S="45",
    )


class TestCarried:
    def test_a_broker_carries_the_request_at_once(self, carrying: WorkerProcess, tmp_path: Path) -> None:
        carrying.start()
        row = telltale.enqueue(celery_tasks.wait_for_file, str(tmp_path / "log"), str(tmp_path / "file"))
        wait_until(lambda: logged_lines(tmp_path) == ["wait_for_file"], "it runs")
        time.sleep(1.0)  # its reporter begins to hear when its first task does
        asked_at = store.now()
        assert telltale.cancel(row)
        assert wait_for_end(row).state == State.CANCELLED
        took_s = wait_for_end(row).ended_at - asked_at
        assert took_s < 10, "long before the next save; on a quiet machine it is a tenth of a second"


def carried(row: TaskState) -> dict[str, Any]:
    from telltale.dispatch.task_header import HEADER, TaskHeader
    from telltale.owners import Owner

    return {HEADER: TaskHeader(task_id=row.pk, owner=Owner()).to_json()}


class TestThousands:
    @pytest.mark.timeout(180)
    def test_of_a_thousand_short_tasks_no_end_is_lost_and_each_costs_three_writes_at_most(
        self, celery_worker: WorkerProcess, count_writes: Callable[[], int]
    ) -> None:
        celery_worker.pause()
        for _ in range(1_000):
            celery_tasks.nap.delay(0)
        celery_worker.start()
        wait_until(lambda: not TaskState.objects.filter(ended_at=None).exists(), "all have ended", timeout_s=150)
        assert TaskState.objects.filter(state=State.SUCCEEDED, attempt=1).count() == 1_000
        # Beside the three: what is usual is learnt by each child once in ten seconds.
        assert count_writes() <= 3 * 1_000 + 100
