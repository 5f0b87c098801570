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
from tests.app import celery_tasks
from tests.runners.benches import SHORT, ProcessBench, celery_command
from tests.runners.conftest import Start
from tests.runners.watching import ended, fresh, lines, until
from tests.servers import Redis

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.service]


def healths_for(duration_s: float, row: TaskState) -> list[Health | None]:
    """Those that a reader sees one after another, each once."""
    seen: list[Health | None] = []
    until_at = time.monotonic() + duration_s
    while time.monotonic() < until_at:
        now = health(fresh(row).snapshot, now=store.now(), limits=conf.settings().limits)
        seen += [now] if now not in seen else []
        time.sleep(0.05)
    return seen


class TestHealth:
    def test_a_hung_task_of_a_living_process_is_quiet_and_never_lost(
        self, celery_bench: ProcessBench, tmp_path: Path, settings: Any
    ) -> None:
        settings.TELLTALE = {**settings.TELLTALE, "QUIET_S": 1.5}
        celery_bench.start()
        gate = tmp_path / "gate"
        row = telltale.enqueue(celery_tasks.hush, str(tmp_path / "log"), str(gate))
        until(lambda: fresh(row).state == State.RUNNING, "it runs")
        seen = healths_for(2 * SHORT["LEASE_S"], row)
        gate.touch()
        assert seen[-1] == Health.QUIET
        assert (ended(row).state, ended(row).attempt) == (State.SUCCEEDED, 1)

    def test_a_task_that_takes_longer_than_usual_is_slow(self, celery_bench: ProcessBench, tmp_path: Path) -> None:
        UsualDuration.objects.create(name="tests.app.celery_tasks.hold", durations_s=[0.5] * 20)
        celery_bench.start()
        gate = tmp_path / "gate"
        row = telltale.enqueue(celery_tasks.hold, str(tmp_path / "log"), str(gate))
        until(lambda: fresh(row).state == State.RUNNING, "it runs")
        seen = healths_for(SHORT["LEASE_S"], row)
        gate.touch()
        assert seen[-1] == Health.SLOW
        assert ended(row).state == State.SUCCEEDED


class TestCancel:
    def test_what_must_not_be_cancelled_says_why_and_goes_on_to_its_end(
        self, celery_bench: ProcessBench, tmp_path: Path
    ) -> None:
        celery_bench.start()
        gate = tmp_path / "gate"
        row = telltale.enqueue(celery_tasks.write_firmware, str(tmp_path / "log"), str(gate))
        until(lambda: fresh(row).snapshot.no_cancel == "Writing the firmware", "the page can say why")
        assert telltale.cancel(row)
        assert telltale.cancel(row), "asking again is harmless"
        time.sleep(2 * SHORT["SAVE_EVERY_S"])
        assert (fresh(row).state, fresh(row).snapshot.cancel_requested) == (State.RUNNING, True)
        gate.touch()
        assert (ended(row).state, ended(row).attempt) == (State.SUCCEEDED, 1)

    def test_a_request_outlives_the_worker_and_its_successor_does_not_begin(
        self, celery_bench: ProcessBench, tmp_path: Path
    ) -> None:
        celery_bench.start()
        row = telltale.enqueue(celery_tasks.deaf, str(tmp_path / "log"))
        until(lambda: lines(tmp_path) == ["deaf"], "it runs")
        assert telltale.cancel(row)
        celery_bench.kill()
        until(lambda: fresh(row).ended_at is not None, "its lease lapses")
        celery_bench.start()
        celery_tasks.deaf.apply_async((str(tmp_path / "log"),), task_id=fresh(row).runner_id, headers=carried(row))
        after = telltale.enqueue(celery_tasks.count, str(tmp_path / "log2"), 1, 0.0)
        assert (ended(after).state, lines(tmp_path)) == (State.SUCCEEDED, ["deaf"])


@pytest.fixture
def carrying(redis: Redis, start: Start, settings: Any) -> Iterator[ProcessBench]:
    """A worker that saves twice a minute, so that only a broker can tell it anything in the meantime."""
    redis.forget()
    settings.TELLTALE = {**settings.TELLTALE, "BROKER": redis.url}
    yield from start(
        celery_tasks,
        celery_command(children=1),
        " ready.",
        TELLTALE_BROKER=redis.url,
        TELLTALE_SAVE_EVERY_S="30",
        TELLTALE_LEASE_S="100",
        TELLTALE_STALLED_S="45",
    )


class TestCarried:
    def test_a_broker_carries_the_request_at_once(self, carrying: ProcessBench, tmp_path: Path) -> None:
        carrying.start()
        row = telltale.enqueue(celery_tasks.hold, str(tmp_path / "log"), str(tmp_path / "gate"))
        until(lambda: lines(tmp_path) == ["hold"], "it runs")
        time.sleep(1.0)  # its reporter begins to hear when its first task does
        asked_at = store.now()
        assert telltale.cancel(row)
        assert ended(row).state == State.CANCELLED
        took_s = ended(row).ended_at - asked_at
        assert took_s < 10, "long before the next save; on a quiet machine it is a tenth of a second"


def carried(row: TaskState) -> dict[str, Any]:
    from telltale.dispatch.task_header import HEADER, TaskHeader
    from telltale.owners import Owner

    return {HEADER: TaskHeader(task_id=row.pk, owner=Owner()).to_json()}


class TestThousands:
    @pytest.mark.timeout(180)
    def test_of_a_thousand_short_tasks_no_end_is_lost_and_each_costs_three_writes_at_most(
        self, celery_bench: ProcessBench, count_writes: Callable[[], int]
    ) -> None:
        celery_bench.pause()
        for _ in range(1_000):
            celery_tasks.nap.delay(0)
        celery_bench.start()
        until(lambda: not TaskState.objects.filter(ended_at=None).exists(), "all have ended", patience_s=150)
        assert TaskState.objects.filter(state=State.SUCCEEDED, attempt=1).count() == 1_000
        # Beside the three: what is usual is learnt by each child once in ten seconds.
        assert count_writes() <= 3 * 1_000 + 100
