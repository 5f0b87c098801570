"""Short Celery tasks through one prefork worker with two children, with Telltale and without it, in one run.

    python -m benchmarks.reporting.short_tasks

Prints the ratio of the throughputs for several durations of a task, and the writes that each task costs, counted by
the database. By default, Celery closes the database connection before and after each task. So the tasks run in three
ways: they do not use the database themselves; they read one row; and Celery keeps the connection
(`CELERY_DB_REUSE_MAX`). Starts redis-server by itself; all files are in a temporary directory.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.rig.paths import ROOT

TASKS = 500
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
        import django

        django.setup()
        from django.core.management import call_command

        from tests.servers import Redis, running

        call_command("migrate", verbosity=0)
        with running(lambda home: Redis(home, port=int(os.environ["REDIS_URL"].split(":")[2].split("/")[0]))):
            measure(Path(directory))


def measure(directory: Path) -> None:
    """Measure all durations in all ways, and print a line for each."""
    from tests.app import celery_tasks

    count_writes = counter_of_writes()
    alone = (celery_tasks.nap_untracked, celery_tasks.nap)
    reading = (celery_tasks.nap_and_read_untracked, celery_tasks.nap_and_read)
    print(f"{TASKS:,} tasks, one prefork worker with two children, {os.cpu_count()} cores, SQLite, Redis")
    print(f"{'task':>43} {'without':>10} {'with':>12} {'ratio':>22} {'writes per task':>16}")
    with worker(directory):
        for duration_ms in DURATIONS_MS:
            measure_duration("does not use the database", alone, duration_ms, count_writes)
            measure_duration("reads the database", reading, duration_ms, count_writes)
    with worker(directory, CELERY_REUSES="1000"):
        for duration_ms in DURATIONS_MS:
            measure_duration("the connection is kept", alone, duration_ms, count_writes)


def measure_duration(way: str, tasks: tuple[Any, Any], duration_ms: int, count_writes: Callable[[], int]) -> None:
    """Run untracked and tracked tasks in turns, so that other load on the machine disturbs both alike."""
    from telltale.core.states import State
    from telltale.models import TaskState

    untracked, tracked = tasks
    untracked_s, tracked_s, writes = [], [], 0.0
    run(untracked, duration_ms, WARM_UP)
    run(tracked, duration_ms, WARM_UP)
    for _ in range(REPEATS):
        untracked_s.append(run(untracked, duration_ms, TASKS))
        TaskState.objects.all().delete()
        before = count_writes()
        tracked_s.append(run(tracked, duration_ms, TASKS))
        wait_until(lambda: not TaskState.objects.exclude(state=State.SUCCEEDED).exists())
        assert TaskState.objects.count() == TASKS, "a task's end is missing"
        writes = (count_writes() - before) / TASKS
    ratios = [without_s / with_s for without_s, with_s in zip(untracked_s, tracked_s, strict=True)]
    spread = f"{min(ratios):.2f} – {statistics.median(ratios):.2f} – {max(ratios):.2f}"
    rates = f"{TASKS / statistics.median(untracked_s):8.0f}/s {TASKS / statistics.median(tracked_s):10.0f}/s"
    print(f"{f'{duration_ms} ms, {way}':>43} {rates} {spread:>22} {writes:16.2f}", flush=True)


def run(task: Any, duration_ms: int, tasks: int) -> float:
    """Seconds from the worker's first task to the end of the last one; all tasks are queued before."""
    import redis

    from tests.app import celery_app

    client = redis.Redis.from_url(os.environ["REDIS_URL"])
    client.delete("naps")
    celery_app.control.cancel_consumer("celery", reply=True, timeout=5, limit=1)
    for _ in range(tasks):
        task.delay(duration_ms)
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


@contextmanager
def worker(directory: Path, **environment: str) -> Iterator[None]:
    """Run the worker as a site would."""
    command = [sys.executable, "-W", "ignore", "-m", "celery", "-A", "tests.app.celery", "worker", "-c", "2"]
    log = directory / "worker.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*command, "-l", "WARNING"], cwd=ROOT, env=os.environ | environment, stdout=out, stderr=subprocess.STDOUT
        )
    try:
        time.sleep(4)
        assert process.poll() is None, log.read_text()
        yield
    finally:
        process.terminate()
        process.wait(20)


def wait_until(condition: Callable[[], bool]) -> None:
    """Check the condition often, for at most `TIMEOUT_S`."""
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, f"the tasks were not done in {TIMEOUT_S} s"
        time.sleep(0.01)


if __name__ == "__main__":
    main()
