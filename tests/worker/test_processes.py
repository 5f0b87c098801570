"""Worker processes that are killed, forked or gone in a moment: what stays true of their tasks."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest
from django.db import connection

from telltale import conf, store
from telltale.core.health import Limits, health
from telltale.core.states import Health
from telltale.models import TaskState
from tests.worker.conftest import QUICK, eventually
from tests.worker.test_outages import locked

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.service]

SHORT = {"BEAT_S": 0.3, "STALLED_S": 1.0, "LEASE_S": 2.5, "SAVE_EVERY_S": 0.2, "END_PATIENCE_S": 0.1}


@pytest.fixture(autouse=True)
def short(settings, quick) -> None:
    settings.TELLTALE = QUICK | SHORT


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []

    def begin(what: str, task: TaskState) -> subprocess.Popen[bytes]:
        env = os.environ | {f"TELLTALE_{key}": str(value) for key, value in SHORT.items()}
        env["TELLTALE_TEST_DB"] = str(connection.settings_dict["NAME"])
        env["TELLTALE_BROKER"] = "none://"
        command = [sys.executable, "-W", "ignore", "-m", "tests.worker.child", what, str(task.pk)]
        started.append(subprocess.Popen(command, env=env, stderr=subprocess.PIPE))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def test_of_many_processes_that_ask_with_one_key_at_one_moment_all_get_the_same_task() -> None:
    env = os.environ | {"TELLTALE_TEST_DB": str(connection.settings_dict["NAME"]), "TELLTALE_BROKER": "none://"}
    moment = time.time() + 3.0
    command = [sys.executable, "-W", "ignore", "-m", "tests.worker.child", "join", f"{moment}:file-7"]
    askers = [subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    answers = {asker.communicate(timeout=30)[0].strip() for asker in askers}
    assert answers == {str(TaskState.objects.get(name="tests.join").pk)}


def now(task: TaskState) -> tuple[str, Health | None]:
    row = store.get_task(task.pk)
    assert row is not None
    return row.state, health(row.snapshot, now=store.now(), limits=Limits.of(conf.settings()))


def test_a_killed_worker_is_missed_then_its_task_is_lost_and_another_attempt_may_run(queue, start) -> None:
    task = queue()
    worker = start("hold", task)
    eventually(lambda: now(task) == ("running", Health.OK))
    worker.send_signal(signal.SIGKILL)
    eventually(lambda: now(task) == ("running", Health.STALLED))
    eventually(lambda: now(task) == ("lost", None))
    start("exit_at_once", task)
    eventually(lambda: now(task) == ("succeeded", None))
    assert store.get_task(task.pk).attempt == 2


def test_a_worker_that_was_stopped_and_wakes_cannot_overwrite_its_successor(queue, start) -> None:
    task = queue()
    worker = start("hold", task)
    eventually(lambda: now(task) == ("running", Health.OK))
    worker.send_signal(signal.SIGSTOP)
    eventually(lambda: now(task)[0] == "lost")
    successor = store.claim(task_id=task.pk, worker="its successor")
    worker.send_signal(signal.SIGCONT)
    time.sleep(1.0)  # it wakes, and says what it has to say
    row = store.get_task(task.pk)
    assert (row.state, row.attempt, row.worker) == ("running", successor.attempt, "its successor")


def test_a_process_that_is_gone_at_once_has_told_its_end(queue, start) -> None:
    task = queue()
    assert start("exit_at_once", task).wait(30) == 0
    row = TaskState.objects.get(pk=task.pk)
    assert (row.state, row.snapshot.progress.current) == ("succeeded", 3)


def test_a_process_that_exits_while_the_database_is_locked_writes_its_end_before_it_goes(queue, start) -> None:
    task = queue()
    with locked():
        worker = start("leave", task)
        time.sleep(2.5)
        assert worker.poll() is None, "it waits for the database"
    worker.wait(30)
    row = TaskState.objects.get(pk=task.pk)
    assert (row.state, row.error) == ("failed", "Row 7 has no name.")


def test_a_forked_child_reports_by_itself(queue, start) -> None:
    task = queue()
    worker = start("fork", task)
    eventually(lambda: (store.get_task(task.pk).snapshot.progress.fraction or 0) == 0.5)
    assert worker.wait(30) == 0
    assert {row.label: row.state for row in TaskState.objects.all()} == {
        "In the parent": "succeeded",
        "Work": "succeeded",
    }
