"""A group, chord or chain that is shown as one task, and `map` and `starmap`."""

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
from tests.runners.workers import WorkerProcess, celery_broker_at
from tests.servers import free_port

pytestmark = pytest.mark.django_db(transaction=True)


def count_group(tmp_path: Path, size: int) -> group:
    return group(celery_tasks.count.si(str(tmp_path / "log"), 1, 0.0) for _ in range(size))


def state_and_progress(row: TaskState) -> tuple[State, float | None, float | None]:
    snapshot = reload(row).snapshot
    return snapshot.state, snapshot.progress.current, snapshot.progress.total


def test_untracked_members_and_plain_signatures_and_empty_groups_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"not tracked.*put @telltale\.tracked beneath"):
        enqueue_canvas(group(celery_tasks.untracked.si("log"), celery_tasks.fail.si("log")))
    with pytest.raises(TypeError, match=r"enqueue it with telltale\.enqueue"):
        enqueue_canvas(celery_tasks.fail.si("log"))
    with pytest.raises(TypeError, match="would never end"):
        enqueue_canvas(group())
    assert TaskState.objects.count() == 0


def test_without_the_message_broker_no_row_is_left() -> None:
    with celery_broker_at(f"redis://127.0.0.1:{free_port()}/0"), pytest.raises(EnqueueFailed):
        enqueue_canvas(group(celery_tasks.fail.si("log"), celery_tasks.fail.si("log")))
    assert TaskState.objects.count() == 0


def test_a_group_in_eager_mode_ends_as_one_task(tmp_path: Path) -> None:
    celery_app.conf.task_always_eager = True
    try:
        row = enqueue_canvas(count_group(tmp_path, 3))
    finally:
        celery_app.conf.task_always_eager = False
    assert state_and_progress(row) == (State.SUCCEEDED, 3, 3)


@pytest.mark.service
class TestGroup:
    def test_its_progress_counts_its_members_and_its_owner_gets_one_notice(
        self, celery_worker: WorkerProcess, tmp_path: Path
    ) -> None:
        celery_worker.pause()
        ada, file = User.objects.create_user("ada"), tmp_path / "file"
        hold = celery_tasks.wait_for_file.si(str(tmp_path / "held"), str(file))
        with transaction.atomic():
            row = enqueue_canvas(group([*count_group(tmp_path, 3).tasks, hold]), label="Import all", owner=ada)
        assert (state_and_progress(row), reload(row).label) == ((State.QUEUED, 0, 4), "Import all")
        assert list(TaskState.objects.filter(owner=ada)) == [row]
        celery_worker.start()
        wait_until(lambda: state_and_progress(row) == (State.RUNNING, 3, 4), "three of four are done")
        assert reload(row).snapshot.progress.fraction == 0.75
        file.touch()
        assert wait_for_end(row).state == State.SUCCEEDED
        assert (state_and_progress(row)[1], StoredNotice.objects.filter(topic=f"user:{ada.pk}").count()) == (4, 1)

    def test_it_runs_as_soon_as_its_first_member_runs(self, celery_worker: WorkerProcess, tmp_path: Path) -> None:
        celery_worker.start()
        file = tmp_path / "file"
        row = enqueue_canvas(group([celery_tasks.wait_for_file.si(str(tmp_path / "log"), str(file))] * 2))
        wait_until(lambda: logged_lines(tmp_path) == ["wait_for_file", "wait_for_file"], "both run")
        assert TaskState.objects.get(pk=row.pk).state == State.RUNNING, "the worker wrote it; no page had to read it"
        assert state_and_progress(row) == (State.RUNNING, 0, 2)
        file.touch()
        assert wait_for_end(row).state == State.SUCCEEDED

    def test_it_fails_when_all_members_have_ended_and_one_has_failed(
        self, celery_worker: WorkerProcess, tmp_path: Path
    ) -> None:
        celery_worker.start()
        row = enqueue_canvas(
            group([*count_group(tmp_path, 2).tasks, celery_tasks.fail.si(str(tmp_path / "log_of_later"))])
        )
        assert (wait_for_end(row).state, reload(row).error) == (State.FAILED, "1 of 3 tasks failed.")
        with pytest.raises(CannotRetry):
            telltale.retry(reload(row))

    def test_cancelling_it_cancels_its_running_and_its_waiting_members(
        self, celery_worker: WorkerProcess, tmp_path: Path
    ) -> None:
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

    def test_reading_it_marks_a_member_of_a_killed_worker_as_lost(
        self, celery_worker: WorkerProcess, tmp_path: Path
    ) -> None:
        celery_worker.start()
        row = enqueue_canvas(group(celery_tasks.wait_for_file.si(str(tmp_path / "log"), str(tmp_path / "file"))))
        wait_until(lambda: logged_lines(tmp_path) == ["wait_for_file"], "it runs")
        celery_worker.kill()
        assert (wait_for_end(row).state, reload(row).error) == (State.FAILED, "1 of 1 tasks failed.")

    def test_a_chain_counts_its_tasks_and_ends_with_the_first_that_fails(
        self, celery_worker: WorkerProcess, tmp_path: Path
    ) -> None:
        celery_worker.start()
        log = str(tmp_path / "log")
        good = enqueue_canvas(chain(celery_tasks.count.si(log, 1, 0.0), celery_tasks.count.si(log, 2, 0.0)))
        assert (wait_for_end(good).state, state_and_progress(good)[1]) == (State.SUCCEEDED, 2)
        bad = enqueue_canvas(chain(celery_tasks.fail.si(log), celery_tasks.count.si(log, 2, 0.0)))
        assert (wait_for_end(bad).state, reload(bad).error) == (State.FAILED, "1 of 2 tasks failed.")
        assert not TaskState.objects.filter(ended_at=None).exists()


@pytest.mark.service
class TestChord:
    def test_its_body_is_counted_and_runs_last(self, celery_worker_with_results: WorkerProcess, tmp_path: Path) -> None:
        celery_worker_with_results.start()
        ada, log = User.objects.create_user("ada"), str(tmp_path / "log")
        row = enqueue_canvas(chord(count_group(tmp_path, 3), celery_tasks.add_up.s(log)), owner=ada)
        assert wait_for_end(row).state == State.SUCCEEDED
        assert (state_and_progress(row)[1:], logged_lines(tmp_path)) == ((4, 4), ["count", "count", "count", "add_up"])
        assert list(TaskState.objects.filter(owner=ada)) == [row]


@pytest.mark.service
class TestMap:
    def test_starmap_is_one_task_that_counts_its_elements(self, celery_worker: WorkerProcess, tmp_path: Path) -> None:
        celery_worker.pause()
        ada, log = User.objects.create_user("ada"), str(tmp_path / "log")
        with telltale.owned_by(ada):
            celery_tasks.count.starmap([(log, 1, 0.0), (log, 2, 0.0), (log, 3, 0.0)]).delay()
        row = TaskState.objects.get()
        assert (row.state, row.owner, row.label) == (State.QUEUED, ada, "Count")
        celery_worker.start()
        assert wait_for_end(row).state == State.SUCCEEDED
        assert (state_and_progress(row)[1:], logged_lines(tmp_path)) == ((3, 3), ["count", "count", "count"])
        assert TaskState.objects.count() == 1

    def test_the_map_of_an_untracked_task_is_not_shown(self, celery_worker: WorkerProcess, tmp_path: Path) -> None:
        celery_worker.start()
        celery_tasks.untracked.map([str(tmp_path / "log")] * 2).delay()
        wait_until(lambda: logged_lines(tmp_path) == ["untracked", "untracked"], "both have run")
        assert TaskState.objects.count() == 0
