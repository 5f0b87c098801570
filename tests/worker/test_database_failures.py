"""A real PostgreSQL or MariaDB server that refuses writes, or that hangs: tasks that begin or end meanwhile."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pymysql
import pytest
from django.db import connection

from tests.servers import ROOT, MariaDB, Postgres, running

pytestmark = [
    pytest.mark.service,
    pytest.mark.skipif(connection.vendor != "sqlite", reason="It starts a server of its own, once in a run of all."),
]

PATIENCE_S = 90.0

Database = Postgres | MariaDB

NAMES: dict[type, str] = {Postgres: "postgres", MariaDB: "telltale"}
"""The names of the databases."""


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with running(Postgres) as server:
        migrate(server)
        yield server


@pytest.fixture(scope="module")
def mariadb() -> Iterator[MariaDB]:
    with running(MariaDB) as server:
        execute(server, f"CREATE DATABASE {NAMES[MariaDB]}", database="mysql")
        migrate(server)
        yield server


@pytest.fixture(params=["postgres", "mariadb"])
def server(request: pytest.FixtureRequest) -> Database:
    """Either of them."""
    found: Database = request.getfixturevalue(request.param)
    return found


def migrate(server: Database) -> None:
    command = [sys.executable, "-W", "ignore", "-m", "django", "migrate", "-v0"]
    subprocess.run(command, cwd=ROOT, env=os.environ | env_of(server), check=True)


def env_of(server: Database) -> dict[str, str]:
    names = {server.variable: str(server.port), "TELLTALE_TEST_DB": NAMES[type(server)]}
    return names | {"DJANGO_SETTINGS_MODULE": "tests.settings", "TELLTALE_BROKER": "none://"}


class Worker:
    """A process that runs one task, a step at a time (`step_by_step` of `child.py`)."""

    def __init__(self, server: Database, log: Path, **settings: object) -> None:
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
        found = execute(
            self._server,
            "SELECT state FROM telltale_taskstate WHERE replace(CAST(id AS char(36)), '-', '') = %s",
            self.task_id.hex,
        )
        return str(found[0][0])

    def await_state(self, state: str) -> None:
        eventually(lambda: self.state() == state, f"the task has {state}")

    def stop(self) -> None:
        self.process.kill()
        self.process.communicate()
        self._out.close()


@pytest.fixture
def start_at(tmp_path: Path) -> Iterator[Any]:
    """Starts a worker whose database is on the server."""
    workers: list[Worker] = []
    servers: list[Database] = []

    def start_worker(server: Database, **settings: object) -> Worker:
        servers.append(server)
        workers.append(Worker(server, tmp_path / f"log{len(workers)}", **settings))
        return workers[-1]

    yield start_worker
    for server in servers:
        server.resume()
    for worker in workers:
        worker.stop()


@pytest.fixture
def start(postgres: Postgres, start_at: Any) -> Any:
    """Starts a worker on PostgreSQL."""
    return partial(start_at, postgres)


def eventually(condition: Any, expected: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited {PATIENCE_S:.0f} s in vain until {expected}"
        time.sleep(0.02)


def execute(server: Database, statement: str, *values: object, database: str | None = None) -> list[Any]:
    address = {"host": "127.0.0.1", "port": server.port, "user": "telltale"}
    name = database or NAMES[type(server)]
    if isinstance(server, Postgres):
        client: Any = psycopg.connect(**address, dbname=name, autocommit=True)
    else:
        client = pymysql.connect(**address, password="telltale", database=name, autocommit=True)
    with closing(client), client.cursor() as cursor:
        cursor.execute(statement, values or None)
        return list(cursor.fetchall()) if cursor.description else []


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


def test_f27_an_end_that_a_read_only_server_refuses_is_written_when_it_accepts_writes_again(
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


def test_f27_an_end_that_is_refused_until_the_process_exits_is_written_by_the_next_process(
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


def test_f32_a_server_that_hangs_at_the_end_of_a_task_holds_the_runner_no_longer_than_the_setting_says(
    server: Database, start_at: Any
) -> None:
    worker = start_at(server, END_RETRY_S=1)
    worker.step()
    worker.await_word("begun")
    worker.await_state("running")
    server.pause()
    worker.step()
    worker.await_word("over")  # While the server still hangs.
    server.resume()
    worker.await_state("succeeded")


def test_a_server_that_hangs_when_a_task_begins_does_not_keep_it_from_running(server: Database, start_at: Any) -> None:
    worker = start_at(server, END_RETRY_S=1)
    server.pause()
    worker.step()
    worker.await_word("begun")
    worker.step()
    worker.await_word("over")
    server.resume()
    worker.await_state("succeeded")
