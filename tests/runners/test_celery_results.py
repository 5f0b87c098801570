"""Telltale beside Celery's result backend in the database (django-celery-results)."""

from pathlib import Path

import pytest
from celery import chord, group
from django.contrib.auth.models import User
from django_celery_results.models import TaskResult

import telltale
from telltale.core.states import State
from telltale.models import TaskState
from telltale.owners import owned_by
from telltale.testing.runners import reload, wait_for_end, wait_until
from tests.app import celery_tasks
from tests.runners.workers import WorkerProcess

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.service]


class TestResults:
    def test_all_tasks_of_a_chord_have_the_same_owner(
        self, celery_worker_with_results: WorkerProcess, tmp_path: Path
    ) -> None:
        celery_worker_with_results.start()
        ada, log = User.objects.create_user("ada"), str(tmp_path / "log")
        members = group(celery_tasks.count.si(log, n, 0.0) for n in (1, 2, 3))
        with owned_by(ada):
            chord(members, celery_tasks.add_up.s(log)).delay()
        wait_until(lambda: TaskState.objects.filter(state=State.SUCCEEDED).count() == 4, "members and body have run")
        assert {row.owner for row in TaskState.objects.all()} == {ada}

    def test_the_result_and_the_row_have_the_same_id_and_both_succeed(
        self, celery_worker_with_results: WorkerProcess, tmp_path: Path
    ) -> None:
        celery_worker_with_results.start()
        row = wait_for_end(telltale.enqueue(celery_tasks.count, str(tmp_path / "log"), 3, 0.0))
        wait_until(lambda: TaskResult.objects.filter(status="SUCCESS").exists(), "the result is stored")
        assert TaskResult.objects.get().task_id == row.runner_id
        assert row.state == State.SUCCEEDED

    def test_a_failed_task_is_a_failed_result(self, celery_worker_with_results: WorkerProcess, tmp_path: Path) -> None:
        celery_worker_with_results.start()
        row = wait_for_end(telltale.enqueue(celery_tasks.fail, str(tmp_path / "log")))
        wait_until(lambda: TaskResult.objects.filter(task_id=row.runner_id, status="FAILURE").exists(), "it is stored")
        assert row.error == "Row 7 has no name."

    def test_a_cancelled_task_is_a_revoked_result(
        self, celery_worker_with_results: WorkerProcess, tmp_path: Path
    ) -> None:
        celery_worker_with_results.start()
        row = telltale.enqueue(celery_tasks.wait_for_file, str(tmp_path / "log"), str(tmp_path / "file"))
        wait_until(lambda: reload(row).state == State.RUNNING, "it runs")
        telltale.cancel(row)
        assert wait_for_end(row).state == State.CANCELLED
        wait_until(
            lambda: TaskResult.objects.filter(task_id=reload(row).runner_id, status="REVOKED").exists(),
            "the result is revoked",
        )

    def test_the_task_of_a_killed_worker_is_lost_although_its_result_stays_started(
        self, celery_worker_with_results: WorkerProcess, tmp_path: Path
    ) -> None:
        celery_worker_with_results.start()
        row = telltale.enqueue(celery_tasks.wait_for_file, str(tmp_path / "log"), str(tmp_path / "file"))
        wait_until(lambda: TaskResult.objects.filter(task_id=row.runner_id, status="STARTED").exists(), "it is started")
        wait_until(lambda: reload(row).state == State.RUNNING, "it runs")
        celery_worker_with_results.kill()
        assert wait_for_end(row).state == State.LOST
        assert TaskResult.objects.get(task_id=row.runner_id).status == "STARTED"
