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

LONG = pytest.mark.fault

SHORT = {"BEAT_S": 0.3, "STALLED_S": 1.0, "LEASE_S": 2.5, "SAVE_EVERY_S": 0.2, "END_RETRY_S": 0.1}


@pytest.fixture(autouse=True)
def short(settings, quick) -> None:
    settings.TELLTALE = QUICK | SHORT


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []

    def start_process(function: str, task: TaskState, prefix: str = "", **more: object) -> subprocess.Popen[bytes]:
        env = os.environ | {f"TELLTALE_{key}": str(value) for key, value in (SHORT | more).items()}
        env["TELLTALE_TEST_DB"] = str(connection.settings_dict["NAME"])
        env["TELLTALE_BROKER"] = "none://"
        command = [sys.executable, "-W", "ignore", "-m", "tests.worker.child", function, f"{prefix}{task.pk}"]
        started.append(
            subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        )
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


def test_f02_a_killed_workers_task_is_stalled_then_lost_and_another_attempt_may_run(queue, start) -> None:
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


def test_f12_a_worker_that_was_stopped_and_continues_cannot_overwrite_its_successor(queue, start) -> None:
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


def test_f03_a_stopped_worker_that_wakes_takes_its_task_back(queue, start) -> None:
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


def test_f48_a_process_that_exits_right_after_the_task_has_written_its_end(queue, start) -> None:
    task = queue()
    assert start("exit_at_once", task).wait(50) == 0
    row = TaskState.objects.get(pk=task.pk)
    assert (row.state, row.snapshot.progress.current) == ("succeeded", 3)


def test_f48_a_process_that_exits_while_the_database_is_locked_waits_to_write_its_end(queue, start) -> None:
    task = queue()
    with locked():
        worker = start("fail", task)
        time.sleep(2.5)
        assert worker.poll() is None, "it waits for the database"
    worker.wait(50)
    row = TaskState.objects.get(pk=task.pk)
    assert (row.state, row.error) == ("failed", "Row 7 has no name.")


def test_f45_a_forked_child_has_its_own_reporter(queue, start) -> None:
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


@pytest.mark.parametrize("kind", ["interrupt", *(pytest.param(k, marks=LONG) for k in ("exit", "recursion"))])
def test_f06_a_task_that_raises_what_ends_a_process_has_failed_before_the_process_ends(queue, start, kind: str) -> None:
    task = queue()
    assert start("raise_error", task, f"{kind}:").wait(50) in ({0} if kind == "exit" else {1, 130, -signal.SIGINT})
    assert TaskState.objects.get(pk=task.pk).state == "failed"


def test_f06_a_task_that_crashes_the_interpreter_is_lost_after_its_lease(queue, start) -> None:
    task = queue()
    assert start("raise_error", task, "crash:").wait(50) == -signal.SIGSEGV
    assert TaskState.objects.get(pk=task.pk).state in ("queued", "running")
    assert_eventually(lambda: state_and_health(task)[0] == "lost")


@LONG
def test_f04_a_task_that_uses_up_the_memory_has_failed(queue, start) -> None:
    task = queue()
    assert start("raise_error", task, "memory:").wait(50) == 1
    row = TaskState.objects.get(pk=task.pk)
    assert (row.state, "MemoryError" in row.detail) == ("failed", True)


@pytest.mark.skipif(connection.vendor != "sqlite", reason="It is this process that runs out of space, not the server.")
def test_f27_a_task_that_ends_on_a_full_disk_goes_on_and_its_end_is_written_when_there_is_room(queue, start) -> None:
    task = queue()
    worker = start("fill_disk", task, BEAT_S=60, SAVE_EVERY_S=60, STALLED_S=300, LEASE_S=600)
    assert_eventually(lambda: state_and_health(task) == ("running", Health.OK))
    assert worker.stdout.readline() == b"begun\n"
    worker.stdin.write(b"\n")
    worker.stdin.flush()
    assert worker.stdout.readline() == b"over\n"
    assert TaskState.objects.get(pk=task.pk).state == "running"
    worker.stdin.write(b"\n")
    worker.stdin.flush()
    assert_eventually(lambda: TaskState.objects.get(pk=task.pk).state == "succeeded")
