"""A worker whose database is down for a while, and whose broker for updates is never available."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from telltale.testing.runners import logged_lines, wait_until
from tests.app import celery_tasks
from tests.runners.conftest import RunWorker
from tests.runners.workers import WorkerProcess, celery_command, django_command, worker_env
from tests.servers import ROOT, Postgres, Redis, free_port, running

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.service]

DOWN_S = 12.0


class Row:
    """The row in the worker's database of the task that counts to `steps`."""

    def __init__(self, server: Postgres, steps: int) -> None:
        self._port, self._steps = server.port, steps

    def __call__(self) -> tuple[str, int, float] | None:
        """State, attempt, progress; None if there is no row yet."""
        address = f"host=127.0.0.1 port={self._port} user=telltale dbname=postgres"
        progress = "COALESCE((progress->>'current')::float, 0)"
        query = f"SELECT state, attempt, {progress} FROM telltale_taskstate WHERE call->'args'->1 = %s::jsonb"
        with psycopg.connect(address) as connection:
            return connection.execute(query, [str(self._steps)]).fetchone()


@pytest.fixture(scope="class")
def server() -> Iterator[Postgres]:
    with running(Postgres) as server:
        yield server


@pytest.fixture(scope="class")
def worker(redis: Redis, run_worker: RunWorker, server: Postgres) -> Iterator[WorkerProcess]:
    """A worker that creates its rows in PostgreSQL, not in the tests' database."""
    redis.forget()
    settings = {"TELLTALE_TEST_POSTGRES": str(server.port), "TELLTALE_TEST_DB": "postgres", "TELLTALE_LEASE_S": "100"}
    settings["TELLTALE_END_RETRY_S"] = "2"  # The end of the short task is left to the saver.
    env = worker_env("postgres", settings)
    subprocess.run(django_command("migrate", "-v0"), cwd=ROOT, env=os.environ | env, check=True)
    unreachable = f"redis://127.0.0.1:{free_port()}/0"
    yield from run_worker(celery_tasks, celery_command(), " ready.", TELLTALE_BROKER=unreachable, **settings)


class TestOutage:
    def test_f20_tasks_continue_and_no_end_is_lost(
        self, worker: WorkerProcess, server: Postgres, tmp_path: Path
    ) -> None:
        worker.start()
        long, short = Row(server, 250), Row(server, 70)
        celery_tasks.count.delay(str(tmp_path / "log"), 250, 0.1)
        celery_tasks.count.delay(str(tmp_path / "log"), 70, 0.1)
        wait_until(lambda: logged_lines(tmp_path) == ["count", "count"], "both run")
        wait_until(lambda: (long() or ("", 0, 0))[2] > 10, "their progress is saved")
        server.stop()
        time.sleep(DOWN_S)
        server.begin()
        wait_until(lambda: short() == ("succeeded", 1, 70), "the end of the short task is saved")
        wait_until(lambda: (long() or ("", 0, 0))[2] > 100, "the progress of the long task is saved again")
        wait_until(lambda: long() == ("succeeded", 1, 250), "the long task ends")
        assert logged_lines(tmp_path) == ["count", "count"]
