"""1,000 short Celery tasks through one prefork worker with two children, with Telltale and without it, in one run.

    python -m benchmarks.reporting.short_tasks

Prints the ratio of the throughputs for several durations of a task, and the writes that each task costs, counted by
the database. Starts redis-server by itself; all files are in a temporary directory.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.rig.paths import ROOT

TASKS = 1_000
WARM_UP = 50
REPEATS = 3
DURATIONS_MS = (5, 20, 50)
TIMEOUT_S = 120


def main() -> None:
    """Prepare database, settings and Redis, then measure."""
    with tempfile.TemporaryDirectory(prefix="telltale-bench-") as directory:
        os.environ["TELLTALE_TEST_DB"] = str(Path(directory) / "bench.sqlite3")
        os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
        os.environ["TELLTALE_BROKER"] = "local://"
        # As a site with many short tasks sets it: without, Django opens the database anew for each task.
        os.environ["TELLTALE_TEST_CONN_MAX_AGE"] = "60"
        import django

        django.setup()
        from django.core.management import call_command

        from tests.servers import Redis, running

        call_command("migrate", verbosity=0)
        with running(lambda home: Redis(home, port=int(os.environ["REDIS_URL"].split(":")[2].split("/")[0]))):
            measure(Path(directory))


def measure(directory: Path) -> None:
    """Measure all durations and print a line for each."""
    worker = start_worker(directory)
    count_writes = counter_of_writes()
    try:
        print(f"{TASKS:,} tasks, one prefork worker with two children, {os.cpu_count()} cores, SQLite, Redis")
        print(f"{'task':>8} {'without':>12} {'with':>12} {'ratio':>22} {'writes per task':>16}")
        for duration_ms in DURATIONS_MS:
            measure_duration(duration_ms, count_writes)
    finally:
        worker.terminate()
        worker.wait(20)


def measure_duration(duration_ms: int, count_writes: Callable[[], int]) -> None:
    """Run tracked and untracked tasks in turns, so that other load on the machine disturbs both alike."""
    from telltale.core.states import State
    from telltale.models import TaskState
    from tests.app import celery_tasks

    untracked_s, tracked_s, writes = [], [], 0.0
    run(celery_tasks.nap_untracked, duration_ms, WARM_UP)
    run(celery_tasks.nap, duration_ms, WARM_UP)
    for _ in range(REPEATS):
        untracked_s.append(run(celery_tasks.nap_untracked, duration_ms, TASKS))
        TaskState.objects.all().delete()
        before = count_writes()
        tracked_s.append(run(celery_tasks.nap, duration_ms, TASKS))
        wait_until(lambda: not TaskState.objects.exclude(state=State.SUCCEEDED).exists())
        assert TaskState.objects.count() == TASKS, "a task's end is missing"
        writes = (count_writes() - before) / TASKS
    ratios = [untracked / tracked for untracked, tracked in zip(untracked_s, tracked_s, strict=True)]
    spread = f"{min(ratios):.2f} – {statistics.median(ratios):.2f} – {max(ratios):.2f}"
    rates = f"{TASKS / statistics.median(untracked_s):8.0f}/s {TASKS / statistics.median(tracked_s):10.0f}/s"
    print(f"{duration_ms:>5} ms {rates} {spread:>22} {writes:16.2f}")


def run(task: object, duration_ms: int, tasks: int) -> float:
    """Seconds from the worker's first task to the end of the last one; all tasks are queued before."""
    import redis

    from tests.app import celery_app

    client = redis.Redis.from_url(os.environ["REDIS_URL"])
    client.delete("naps")
    celery_app.control.cancel_consumer("celery", reply=True, timeout=5, limit=1)
    for _ in range(tasks):
        task.delay(duration_ms)  # type: ignore[attr-defined]
    began = time.perf_counter()
    celery_app.control.add_consumer("celery")
    wait_until(lambda: int(client.get("naps") or 0) >= tasks)
    return time.perf_counter() - began


def counter_of_writes() -> Callable[[], int]:
    """Count every INSERT and UPDATE of Telltale's tables, of all processes, by triggers in the database."""
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
    """Start the worker as a site would."""
    command = [sys.executable, "-W", "ignore", "-m", "celery", "-A", "tests.app.celery", "worker", "-c", "2"]
    log = directory / "worker.log"
    with log.open("wb") as out:
        worker = subprocess.Popen([*command, "-l", "WARNING"], cwd=ROOT, stdout=out, stderr=subprocess.STDOUT)
    time.sleep(4)
    assert worker.poll() is None, log.read_text()
    return worker


def wait_until(condition: Callable[[], bool]) -> None:
    """Check the condition often, for at most `TIMEOUT_S`."""
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, f"the tasks were not done in {TIMEOUT_S} s"
        time.sleep(0.01)


if __name__ == "__main__":
    main()
