"""1,000 short Celery tasks through one prefork worker with two children, with Telltale and without, in one run.

Prints the ratio of the two throughputs for several durations of a task, and the writes that each task cost,
counted by the database. `python -m benchmarks.reporting.short_tasks`; needs redis-server, and starts it by itself.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

TASKS = 1_000
REPEATS = 3
DURATIONS_MS = (5, 20, 50)


def main() -> None:
    """Set everything up in a directory that goes with it, then measure."""
    with tempfile.TemporaryDirectory(prefix="telltale-bench-") as directory:
        os.environ["TELLTALE_TEST_DB"] = str(Path(directory) / "bench.sqlite3")
        os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
        os.environ["TELLTALE_BROKER"] = "local://"
        # As a site with many short tasks sets it: without, Django opens the database anew for each of them.
        os.environ["TELLTALE_TEST_CONN_MAX_AGE"] = "60"
        import django

        django.setup()
        from django.core.management import call_command

        from tests.servers import Redis, running

        call_command("migrate", verbosity=0)
        with running(lambda home: Redis(home, port=int(os.environ["REDIS_URL"].split(":")[2].split("/")[0]))):
            measure(Path(directory))


def measure(directory: Path) -> None:
    """Both kinds in turn, so that a noisy neighbour disturbs both."""
    from telltale.core.states import State
    from telltale.models import TaskState
    from tests.app import celery_tasks

    worker = start_worker(directory)
    count = count_writes()
    try:
        print(f"{TASKS:,} tasks, one prefork worker with two children, {os.cpu_count()} cores, SQLite, Redis")
        print(f"{'task':>8} {'without':>12} {'with':>12} {'ratio':>22} {'writes a task':>14}")
        for duration_ms in DURATIONS_MS:
            ratios, plain_rates, told_rates, writes = [], [], [], 0.0
            run(celery_tasks.nap_untracked, duration_ms, 50)
            run(celery_tasks.nap, duration_ms, 50)
            for _ in range(REPEATS):
                plain = run(celery_tasks.nap_untracked, duration_ms, TASKS)
                TaskState.objects.all().delete()
                before = count()
                told = run(celery_tasks.nap, duration_ms, TASKS)
                until(lambda: not TaskState.objects.exclude(state=State.SUCCEEDED).exists())
                assert TaskState.objects.count() == TASKS, "no end is lost"
                writes = (count() - before) / TASKS
                plain_rates.append(TASKS / plain)
                told_rates.append(TASKS / told)
                ratios.append(plain / told)
            spread = f"{min(ratios):.2f} – {statistics.median(ratios):.2f} – {max(ratios):.2f}"
            rates = f"{statistics.median(plain_rates):8.0f}/s {statistics.median(told_rates):10.0f}/s"
            print(f"{duration_ms:>5} ms {rates} {spread:>22} {writes:14.2f}")
    finally:
        worker.terminate()
        worker.wait(20)


def run(task: object, duration_ms: int, tasks: int) -> float:
    """Seconds from when the worker may begin until the last task is done; all are published before."""
    import redis

    from tests.app import celery_app

    client = redis.Redis.from_url(os.environ["REDIS_URL"])
    client.delete("naps")
    celery_app.control.cancel_consumer("celery", reply=True, timeout=5, limit=1)
    for _ in range(tasks):
        task.delay(duration_ms)  # type: ignore[attr-defined]
    began = time.perf_counter()
    celery_app.control.add_consumer("celery")
    until(lambda: int(client.get("naps") or 0) >= tasks)
    return time.perf_counter() - began


def count_writes() -> Callable[[], int]:
    """Every INSERT and UPDATE of Telltale's tables, counted by the database itself, whichever process writes."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE bench_writes (n INTEGER)")
        cursor.execute("INSERT INTO bench_writes VALUES (0)")
        for table in ("taskstate", "storednotice", "usualduration"):
            for event in ("INSERT", "UPDATE"):
                cursor.execute(
                    f"CREATE TRIGGER bench_{table}_{event} AFTER {event} ON telltale_{table} "
                    "BEGIN UPDATE bench_writes SET n = n + 1; END"
                )

    def count() -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT n FROM bench_writes")
            return int(cursor.fetchone()[0])

    return count


def start_worker(directory: Path) -> "subprocess.Popen[bytes]":
    """As a site would start it."""
    command = [sys.executable, "-W", "ignore", "-m", "celery", "-A", "tests.app.celery", "worker", "-c", "2"]
    log = directory / "worker.log"
    with log.open("wb") as out:
        worker = subprocess.Popen([*command, "-l", "WARNING"], stdout=out, stderr=subprocess.STDOUT)
    time.sleep(4)
    assert worker.poll() is None, log.read_text()
    return worker


def until(true: Callable[[], bool]) -> None:
    """Look often, for at most two minutes."""
    patience = time.monotonic() + 120
    while not true():
        assert time.monotonic() < patience, "the tasks were not done in two minutes"
        time.sleep(0.01)


if __name__ == "__main__":
    main()
