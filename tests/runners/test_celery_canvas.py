"""A group, chord or chain under one bar, and `starmap`, which is one task."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import chain, chord, group
from django.contrib.auth.models import User
from django.db import transaction

import telltale
from telltale.core.states import State
from telltale.dispatch.control import CannotRetry
from telltale.dispatch.runner import EnqueueFailed
from telltale.models import StoredNotice, TaskState
from telltale.runners.celery_canvas import enqueue_canvas
from telltale.testing.runners import logged_lines, reload, wait_for_end, wait_until
from tests.app import celery_app, celery_tasks
from tests.runners.conftest import RunWorker
from tests.runners.workers import WorkerProcess, celery_broker_at, celery_command, celery_results_in
from tests.servers import Redis, free_port

pytestmark = pytest.mark.django_db(transaction=True)


def counts(tmp_path: Path, how_many: int) -> group:
    return group(celery_tasks.count.si(str(tmp_path / "log"), 1, 0.0) for _ in range(how_many))


def shown(row: TaskState) -> tuple[State, float | None, float | None]:
    now = reload(row)
    return State(now.state), now.snapshot.progress.current, now.snapshot.progress.total


def test_what_is_not_tracked_or_no_canvas_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"not tracked.*put @telltale\.tracked beneath"):
        enqueue_canvas(group(celery_tasks.untracked.si("log"), celery_tasks.fail.si("log")))
    with pytest.raises(TypeError, match=r"enqueue it with telltale\.enqueue"):
        enqueue_canvas(celery_tasks.fail.si("log"))
    with pytest.raises(TypeError, match="would never end"):
        enqueue_canvas(group())
    assert TaskState.objects.count() == 0


def test_without_its_broker_nothing_is_left_queued() -> None:
    with celery_broker_at(f"redis://127.0.0.1:{free_port()}/0"), pytest.raises(EnqueueFailed):
        enqueue_canvas(group(celery_tasks.fail.si("log"), celery_tasks.fail.si("log")))
    assert TaskState.objects.count() == 0


def test_an_eager_group_ends_as_one(tmp_path: Path) -> None:
    celery_app.conf.task_always_eager = True
    try:
        row = enqueue_canvas(counts(tmp_path, 3))
    finally:
        celery_app.conf.task_always_eager = False
    assert shown(row) == (State.SUCCEEDED, 3, 3)


@pytest.mark.service
class TestGroup:
    def test_its_bar_counts_its_members_and_tells_its_owner_once(
        self, celery_worker: WorkerProcess, tmp_path: Path
    ) -> None:
        celery_worker.pause()
        ada, file = User.objects.create_user("ada"), tmp_path / "file"
        hold = celery_tasks.wait_for_file.si(str(tmp_path / "held"), str(file))
        with transaction.atomic():
            row = enqueue_canvas(group([*counts(tmp_path, 3).tasks, hold]), label="Import all", owner=ada)
        assert (shown(row), reload(row).label) == ((State.QUEUED, 0, 4), "Import all")
        assert list(TaskState.objects.filter(owner=ada)) == [row]
        celery_worker.start()
        wait_until(lambda: shown(row) == (State.RUNNING, 3, 4), "three of four are done")
        assert reload(row).snapshot.progress.fraction == 0.75
        file.touch()
        assert wait_for_end(row).state == State.SUCCEEDED
        assert (shown(row)[1], StoredNotice.objects.filter(topic=f"user:{ada.pk}").count()) == (4, 1)

    def test_it_runs_as_soon_as_its_first_member_does(self, celery_worker: WorkerProcess, tmp_path: Path) -> None:
        celery_worker.start()
        file = tmp_path / "file"
        row = enqueue_canvas(group([celery_tasks.wait_for_file.si(str(tmp_path / "log"), str(file))] * 2))
        wait_until(lambda: logged_lines(tmp_path) == ["wait_for_file", "wait_for_file"], "both run")
        assert TaskState.objects.get(pk=row.pk).state == State.RUNNING, "so the worker says, and no reader had to"
        assert shown(row) == (State.RUNNING, 0, 2)
        file.touch()
        assert wait_for_end(row).state == State.SUCCEEDED

    def test_it_has_failed_when_all_have_ended_and_one_has_failed(
        self, celery_worker: WorkerProcess, tmp_path: Path
    ) -> None:
        celery_worker.start()
        row = enqueue_canvas(group([*counts(tmp_path, 2).tasks, celery_tasks.fail.si(str(tmp_path / "log_of_later"))]))
        assert (wait_for_end(row).state, reload(row).error) == (State.FAILED, "1 of 3 tasks failed.")
        with pytest.raises(CannotRetry):
            telltale.retry(reload(row))

    def test_cancelling_it_stops_what_runs_and_what_waits(self, celery_worker: WorkerProcess, tmp_path: Path) -> None:
        celery_worker.start()
        hold = celery_tasks.wait_for_file.si(str(tmp_path / "log"), str(tmp_path / "file"))
        row = enqueue_canvas(group([hold] * 6))
        wait_until(lambda: logged_lines(tmp_path) == ["wait_for_file", "wait_for_file"], "two of them run")
        assert telltale.cancel(row)
        assert wait_for_end(row).state == State.CANCELLED
        wait_until(lambda: not TaskState.objects.exclude(state=State.CANCELLED).exists(), "all are cancelled")
        later = telltale.enqueue(celery_tasks.count, str(tmp_path / "log_of_later"), 1, 0.0)
        assert (wait_for_end(later).state, logged_lines(tmp_path)) == (
            State.SUCCEEDED,
            ["wait_for_file", "wait_for_file"],
        )

    def test_a_member_whose_worker_was_killed_is_found_out_by_whoever_looks_at_the_whole(
        self, celery_worker: WorkerProcess, tmp_path: Path
    ) -> None:
        celery_worker.start()
        row = enqueue_canvas(group(celery_tasks.wait_for_file.si(str(tmp_path / "log"), str(tmp_path / "file"))))
        wait_until(lambda: logged_lines(tmp_path) == ["wait_for_file"], "it runs")
        celery_worker.kill()
        assert (wait_for_end(row).state, reload(row).error) == (State.FAILED, "1 of 1 tasks failed.")

    def test_a_chain_counts_its_links_and_ends_with_the_one_that_fails(
        self, celery_worker: WorkerProcess, tmp_path: Path
    ) -> None:
        celery_worker.start()
        log = str(tmp_path / "log")
        good = enqueue_canvas(chain(celery_tasks.count.si(log, 1, 0.0), celery_tasks.count.si(log, 2, 0.0)))
        assert (wait_for_end(good).state, shown(good)[1]) == (State.SUCCEEDED, 2)
        bad = enqueue_canvas(chain(celery_tasks.fail.si(log), celery_tasks.count.si(log, 2, 0.0)))
        assert (wait_for_end(bad).state, reload(bad).error) == (State.FAILED, "1 of 2 tasks failed.")
        assert not TaskState.objects.filter(ended_at=None).exists()


@pytest.fixture(scope="class")
def remembering(redis: Redis, run_worker: RunWorker) -> Iterator[WorkerProcess]:
    """Its worker stores results, which chords need."""
    redis.forget()
    with celery_results_in("django-db"):
        yield from run_worker(celery_tasks, celery_command(), " ready.", CELERY_RESULTS="django-db")


@pytest.mark.service
class TestChord:
    def test_its_body_is_the_last_of_its_parts(self, remembering: WorkerProcess, tmp_path: Path) -> None:
        remembering.start()
        ada, log = User.objects.create_user("ada"), str(tmp_path / "log")
        row = enqueue_canvas(chord(counts(tmp_path, 3), celery_tasks.add_up.s(log)), owner=ada)
        assert wait_for_end(row).state == State.SUCCEEDED
        assert (shown(row)[1:], logged_lines(tmp_path)) == ((4, 4), ["count", "count", "count", "add_up"])
        assert list(TaskState.objects.filter(owner=ada)) == [row]


@pytest.mark.service
class TestStarmap:
    def test_it_is_one_task_that_counts_its_elements(self, celery_worker: WorkerProcess, tmp_path: Path) -> None:
        celery_worker.pause()
        ada, log = User.objects.create_user("ada"), str(tmp_path / "log")
        with telltale.owned_by(ada):
            celery_tasks.count.starmap([(log, 1, 0.0), (log, 2, 0.0), (log, 3, 0.0)]).delay()
        row = TaskState.objects.get()
        assert (row.state, row.owner, row.label) == (State.QUEUED, ada, "Count")
        celery_worker.start()
        assert wait_for_end(row).state == State.SUCCEEDED
        assert (shown(row)[1:], logged_lines(tmp_path)) == ((3, 3), ["count", "count", "count"])
        assert TaskState.objects.count() == 1

    def test_a_map_of_what_is_not_tracked_is_not_shown(self, celery_worker: WorkerProcess, tmp_path: Path) -> None:
        celery_worker.start()
        celery_tasks.untracked.map([str(tmp_path / "log")] * 2).delay()
        wait_until(lambda: logged_lines(tmp_path) == ["untracked", "untracked"], "both have run")
        assert TaskState.objects.count() == 0
