"""A live server whose PostgreSQL accepts no more connections, or is cut off from it: clients keep what they have."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from django.db import connection, connections, transaction

from telltale import store
from telltale.core.topics import task_topic, user_topic
from telltale.live import tickets
from tests.factories import person, task_of
from tests.fault_proxy import FaultProxy
from tests.faults.conftest import Converges
from tests.servers import ROOT, Postgres, running
from tests.transports.conftest import CLIENTS
from tests.transports.sites import ProcessSite, environment, wait_until
from tests.worker.test_database_failures import Worker, env_of, execute

STREAMS = 30

on_a_server_of_its_own = pytest.mark.skipif(
    connection.vendor != "sqlite", reason="It starts a server of its own, once in a run of all."
)


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with running(Postgres) as server:
        command = [sys.executable, "-W", "ignore", "-m", "django", "migrate", "-v0"]
        subprocess.run(command, cwd=ROOT, env=os.environ | env_of(server), check=True)
        yield server


@pytest.fixture(scope="module")
def line(postgres: Postgres) -> Iterator[FaultProxy]:
    """Between the live server and its database."""
    with FaultProxy(postgres.port) as line:
        yield line


@pytest.fixture(scope="module")
def site(postgres: Postgres, line: FaultProxy) -> Iterator[ProcessSite]:
    env = environment(CONNECTIONS_PER_USER=100) | env_of(postgres) | {"TELLTALE_TEST_POSTGRES": str(line.port)}

    def start(directory: Path) -> ProcessSite:
        return ProcessSite(directory, ["telltale.server", "--port", "{port}"], env)

    with running(start) as site:
        yield site


@pytest.fixture
def worker(postgres: Postgres, tmp_path: Path) -> Iterator[Worker]:
    """A worker process that is connected to the database itself, with a task that runs."""
    worker = Worker(postgres, tmp_path / "log")
    worker.step()
    worker.await_word("begun")
    worker.await_state("running")
    yield worker
    worker.stop()


def follow(site: ProcessSite, worker: Worker, transport: str = "websocket") -> Any:
    client = CLIENTS[transport](site, tickets.issue([task_topic(worker.task_id)]))
    client.message("hello")
    return client


def health(site: ProcessSite) -> str:
    return str(httpx.get(f"{site.url}/healthz", timeout=30).json()["database"])


def connection_count(postgres: Postgres) -> int:
    """How many connections to the database there are, but for this one."""
    return int(execute(postgres, "SELECT count(*) FROM pg_stat_activity WHERE usename = 'telltale'")[0][0]) - 1


@on_a_server_of_its_own
@pytest.mark.service
@pytest.mark.fault
def test_f25_open_streams_hold_no_connection_and_survive_that_the_database_accepts_none(
    postgres: Postgres, site: ProcessSite, worker: Worker, converges: Converges, record_property: Callable[..., None]
) -> None:
    before = connection_count(postgres)
    with ExitStack() as stack:
        for number in range(STREAMS):
            client = follow(site, worker, "sse" if number % 2 else "websocket")
            stack.callback(client.close)
            client.snapshot(worker.task_id)
        record_property("connections", connection_count(postgres) - before)
        assert connection_count(postgres) <= before + 1
        with ExitStack() as others:
            with pytest.raises(psycopg.OperationalError, match=r"too many|connection slots"):
                while True:
                    address = f"host=127.0.0.1 port={postgres.port} user=telltale dbname=postgres"
                    others.enter_context(psycopg.connect(address))
            wait_until(lambda: health(site) != "works", "the server says that it can't read", 60)
            late = CLIENTS["websocket"](site, tickets.issue([task_topic(worker.task_id)]))
            stack.callback(late.close)
            assert site.connection_count() == STREAMS + 1
        with converges():
            assert late.snapshot(worker.task_id)["state"] == "running"
            wait_until(lambda: health(site) == "works", "the server reads again", 60)
        worker.step()
        assert client.snapshot(worker.task_id, lambda s: s["ended"])["state"] == "succeeded"


@on_a_server_of_its_own
@pytest.mark.service
@pytest.mark.fault
def test_f32_while_the_database_is_cut_off_clients_keep_what_they_have_and_the_end_comes_afterwards(
    site: ProcessSite, line: FaultProxy, worker: Worker, converges: Converges
) -> None:
    client = follow(site, worker)
    client.snapshot(worker.task_id)
    try:
        line.black_hole()
        wait_until(lambda: health(site) != "works", "the server says that it can't read", 90)
        worker.step()
        worker.await_state("succeeded")
        assert client.messages_within(3.0) == []
        assert not client.has_ended
    finally:
        line.heal()
    with converges():
        assert client.snapshot(worker.task_id, lambda s: s["ended"])["state"] == "succeeded"
    assert health(site) == "works"
    client.close()


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has one writer at a time.")
@pytest.mark.django_db(transaction=True)
def test_f24_a_task_that_is_committed_after_a_later_one_is_not_missed() -> None:
    ada = person("ada")

    def labels() -> set[str]:
        return {e.snapshot.label for e in store.read_topics([user_topic(ada.pk)]) if e.snapshot is not None}

    with transaction.atomic():
        task_of(ada, label="first")
        in_a_thread_of_its_own(lambda: task_of(ada, label="second"))
        assert in_a_thread_of_its_own(labels) == {"second"}
    assert labels() == {"first", "second"}


def in_a_thread_of_its_own(act: Any) -> Any:
    """Return the result of `act`, over another connection."""

    def run() -> Any:
        try:
            return act()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(run).result(60)
