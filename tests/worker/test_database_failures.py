"""A real PostgreSQL server that refuses writes, or that hangs: what becomes of a task that begins or ends meanwhile."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from django.db import connection

from tests.servers import ROOT, Postgres, running

pytestmark = [
    pytest.mark.service,
    pytest.mark.skipif(connection.vendor != "sqlite", reason="It starts a server of its own, once in a run of all."),
]

PATIENCE_S = 90.0


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with running(Postgres) as server:
        env = os.environ | env_of(server)
        subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "django", "migrate", "-v0"], cwd=ROOT, env=env, check=True
        )
        yield server


def env_of(server: Postgres) -> dict[str, str]:
    names = {"TELLTALE_TEST_POSTGRES": str(server.port), "TELLTALE_TEST_DB": "postgres"}
    return names | {"DJANGO_SETTINGS_MODULE": "tests.settings", "TELLTALE_BROKER": "none://"}


class Worker:
    """A process that runs one task, a step at a time (`step_by_step` of `child.py`)."""

    def __init__(self, server: Postgres, log: Path, **settings: object) -> None:
        self.task_id, self._server, self._log = uuid4(), server, log
        env = os.environ | env_of(server) | {f"TELLTALE_{key}": str(value) for key, value in settings.items()}
        command = [sys.executable, "-W", "ignore", "-m", "tests.worker.child", "step_by_step", str(self.task_id)]
        self._out = log.open("w")
        self.process = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=self._out, text=True)
        self.await_word("queued")

    def step(self) -> None:
        """Let it begin, end or exit."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def await_word(self, word: str) -> None:
        eventually(lambda: word in self._log.read_text().split(), f"it says {word}")

    def has_said(self, word: str) -> bool:
        return word in self._log.read_text().split()

    def state(self) -> str:
        return str(execute(self._server, "SELECT state FROM telltale_taskstate WHERE id = %s", self.task_id)[0][0])

    def await_state(self, state: str) -> None:
        eventually(lambda: self.state() == state, f"the task has {state}")

    def stop(self) -> None:
        self.process.kill()
        self.process.communicate()
        self._out.close()


@pytest.fixture
def start(postgres: Postgres, tmp_path: Path) -> Iterator[Any]:
    workers: list[Worker] = []

    def start_worker(**settings: object) -> Worker:
        workers.append(Worker(postgres, tmp_path / f"log{len(workers)}", **settings))
        return workers[-1]

    yield start_worker
    postgres.resume()
    for worker in workers:
        worker.stop()


def eventually(condition: Any, expected: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited {PATIENCE_S:.0f} s in vain until {expected}"
        time.sleep(0.02)


def execute(server: Postgres, statement: str, *values: object) -> list[Any]:
    address = f"host=127.0.0.1 port={server.port} user=telltale dbname=postgres"
    with psycopg.connect(address, autocommit=True) as client:
        cursor = client.execute(statement, values or None)
        return cursor.fetchall() if cursor.description else []


def set_read_only(server: Postgres, value: str) -> None:
    execute(server, f"ALTER SYSTEM SET default_transaction_read_only = {value}")
    execute(server, "SELECT pg_reload_conf()")
    eventually(lambda: execute(server, "SHOW default_transaction_read_only")[0][0] == value, "the server has read it")


def refusals(server: Postgres) -> int:
    return (server.directory / "postgres.log").read_text().count("cannot execute UPDATE in a read-only transaction")


@pytest.fixture
def read_only(postgres: Postgres) -> Iterator[Any]:
    yield lambda value: set_read_only(postgres, value)
    set_read_only(postgres, "off")


def test_an_end_that_a_read_only_server_refuses_is_written_when_it_accepts_writes_again(
    postgres: Postgres, start: Any, read_only: Any
) -> None:
    worker = start(BEAT_S=60, SAVE_EVERY_S=60)  # So that only the end is written.
    worker.step()
    worker.await_word("begun")
    worker.await_state("running")
    read_only("on")
    before = refusals(postgres)
    worker.step()
    eventually(lambda: refusals(postgres) >= before + 3, "the end was refused, and tried again")
    assert not worker.has_said("over")
    assert worker.state() == "running"
    read_only("off")
    worker.await_word("over")
    assert worker.state() == "succeeded"


def test_an_end_that_is_refused_for_longer_than_the_runner_waits_is_written_by_the_saver(
    postgres: Postgres, start: Any, read_only: Any
) -> None:
    worker = start(BEAT_S=60, SAVE_EVERY_S=60, END_RETRY_S=0.5)
    worker.step()
    worker.await_word("begun")
    worker.await_state("running")
    read_only("on")
    worker.step()
    worker.await_word("over")
    assert worker.state() == "running"
    read_only("off")
    worker.await_state("succeeded")


def test_an_end_that_is_refused_until_the_process_exits_is_written_by_the_next_process(
    postgres: Postgres, start: Any, read_only: Any
) -> None:
    worker = start(BEAT_S=60, SAVE_EVERY_S=60, END_RETRY_S=0.5)
    worker.step()
    worker.await_word("begun")
    worker.await_state("running")
    read_only("on")
    worker.step()
    worker.await_word("over")
    worker.step()
    worker.process.wait(PATIENCE_S)
    assert worker.state() == "running"
    read_only("off")
    next_worker = start()
    next_worker.step()
    worker.await_state("succeeded")


def test_a_server_that_hangs_at_the_end_of_a_task_holds_the_runner_no_longer_than_the_setting_says(
    postgres: Postgres, start: Any
) -> None:
    worker = start(END_RETRY_S=1)
    worker.step()
    worker.await_word("begun")
    worker.await_state("running")
    postgres.pause()
    worker.step()
    worker.await_word("over")  # While the server still hangs.
    postgres.resume()
    worker.await_state("succeeded")


def test_a_server_that_hangs_when_a_task_begins_does_not_keep_it_from_running(postgres: Postgres, start: Any) -> None:
    worker = start(END_RETRY_S=1)
    postgres.pause()
    worker.step()
    worker.await_word("begun")
    worker.step()
    worker.await_word("over")
    postgres.resume()
    worker.await_state("succeeded")
