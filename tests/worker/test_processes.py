"""Worker processes that are killed, stopped or forked, or exit at once: what becomes of their tasks."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest
from django.db import connection

from telltale import conf, store
from telltale.core.health import health
from telltale.core.snapshot import supersedes
from telltale.core.states import Health
from telltale.models import TaskState
from tests.worker.conftest import QUICK, assert_eventually
from tests.worker.test_outages import locked

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.service]

SHORT = {"BEAT_S": 0.3, "STALLED_S": 1.0, "LEASE_S": 2.5, "SAVE_EVERY_S": 0.2, "END_RETRY_S": 0.1}


@pytest.fixture(autouse=True)
def short(settings, quick) -> None:
    settings.TELLTALE = QUICK | SHORT


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []

    def start_process(function: str, task: TaskState) -> subprocess.Popen[bytes]:
        env = os.environ | {f"TELLTALE_{key}": str(value) for key, value in SHORT.items()}
        env["TELLTALE_TEST_DB"] = str(connection.settings_dict["NAME"])
        env["TELLTALE_BROKER"] = "none://"
        command = [sys.executable, "-W", "ignore", "-m", "tests.worker.child", function, str(task.pk)]
        started.append(subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stderr=subprocess.PIPE))
        return started[-1]

    yield start_process
    for process in started:
        process.kill()
        process.communicate()


def test_processes_that_queue_with_the_same_key_at_the_same_time_get_the_same_task() -> None:
    env = os.environ | {"TELLTALE_TEST_DB": str(connection.settings_dict["NAME"]), "TELLTALE_BROKER": "none://"}
    start_at = time.time() + 3.0
    command = [sys.executable, "-W", "ignore", "-m", "tests.worker.child", "queue_with_key", f"{start_at}:file-7"]
    processes = [subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    task_ids = {process.communicate(timeout=50)[0].strip() for process in processes}
    assert task_ids == {str(TaskState.objects.get(name="tests.keyed").pk)}


def state_and_health(task: TaskState, now: float | None = None) -> tuple[str, Health | None]:
    now = store.now() if now is None else now
    row = store.get_task(task.pk, now=now)
    assert row is not None
    return row.state, health(row.snapshot, now=now, limits=conf.settings().limits)


def test_a_killed_workers_task_is_stalled_then_lost_and_another_attempt_may_run(queue, start) -> None:
    task = queue()
    worker = start("hold", task)
    assert_eventually(lambda: state_and_health(task) == ("running", Health.OK))
    worker.send_signal(signal.SIGKILL)
    worker.wait(30)
    lease_until, lost_attempt = TaskState.objects.values_list("lease_until", "attempt").get(pk=task.pk)
    assert state_and_health(task, now=lease_until - 0.1) == ("running", Health.STALLED)
    assert state_and_health(task, now=lease_until + 0.1) == ("lost", None)
    start("exit_at_once", task)
    assert_eventually(lambda: state_and_health(task) == ("succeeded", None))
    assert store.get_task(task.pk).attempt == lost_attempt + 1


def test_a_worker_that_was_stopped_and_continues_cannot_overwrite_its_successor(queue, start) -> None:
    task = queue()
    worker = start("hold", task)
    assert_eventually(lambda: state_and_health(task) == ("running", Health.OK))
    worker.send_signal(signal.SIGSTOP)
    assert_eventually(lambda: state_and_health(task)[0] == "lost")
    successor = store.claim(task_id=task.pk, worker="its successor")
    worker.send_signal(signal.SIGCONT)
    time.sleep(1.0)  # time for the worker to save its progress, which must not be accepted
    row = TaskState.objects.get(pk=task.pk)  # Not `get_task`: the successor's lease may have expired by now.
    assert (row.state, row.attempt, row.worker) == ("running", successor.attempt, "its successor")


def test_a_worker_that_was_stopped_and_continues_takes_back_that_its_task_was_lost(queue, start) -> None:
    task = queue()
    worker = start("hold", task)
    assert_eventually(lambda: state_and_health(task) == ("running", Health.OK))
    worker.send_signal(signal.SIGSTOP)
    assert_eventually(lambda: state_and_health(task)[0] == "lost")
    lost = store.get_task(task.pk).snapshot
    worker.send_signal(signal.SIGCONT)
    assert_eventually(lambda: state_and_health(task) == ("running", Health.OK))
    taken_back = TaskState.objects.get(pk=task.pk)
    assert supersedes(taken_back.snapshot.order, lost.order)

    def has_progress_and_renewed_its_lease() -> bool:
        row = TaskState.objects.get(pk=task.pk)
        has_progress = (row.snapshot.progress.current or 0) > (lost.progress.current or 0)
        return row.state == "running" and has_progress and row.lease_until > taken_back.lease_until

    assert_eventually(has_progress_and_renewed_its_lease)


def test_a_process_that_exits_right_after_the_task_has_written_its_end(queue, start) -> None:
    task = queue()
    assert start("exit_at_once", task).wait(50) == 0
    row = TaskState.objects.get(pk=task.pk)
    assert (row.state, row.snapshot.progress.current) == ("succeeded", 3)


def test_a_process_that_exits_while_the_database_is_locked_waits_to_write_its_end(queue, start) -> None:
    task = queue()
    with locked():
        worker = start("fail", task)
        time.sleep(2.5)
        assert worker.poll() is None, "it waits for the database"
    worker.wait(50)
    row = TaskState.objects.get(pk=task.pk)
    assert (row.state, row.error) == ("failed", "Row 7 has no name.")


def test_a_forked_child_has_its_own_reporter(queue, start) -> None:
    task = queue()
    worker = start("fork", task)
    assert_eventually(lambda: TaskState.objects.get(pk=task.pk).snapshot.progress.fraction == 0.5)
    worker.stdin.write(b"\n")
    worker.stdin.flush()
    assert worker.wait(30) == 0
    assert {row.label: row.state for row in TaskState.objects.all()} == {
        "In the parent": "succeeded",
        "Work": "succeeded",
    }
