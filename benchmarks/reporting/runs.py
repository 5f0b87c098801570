"""CPU time and statements of one run's bookkeeping, beside the rows of `django-celery-results`, in one process.

    python -m benchmarks.reporting.runs

A run with Telltale: its row is created, claimed and ended, with its figures; with an owner also the notice. The peer
writes the states STARTED and SUCCESS. Both on SQLite, in turns, so that other load on the machine disturbs both alike.
"""

import statistics
import time
from collections.abc import Callable
from uuid import uuid4

from benchmarks.rig.sqlite_site import sqlite_site

RUNS = 200
REPEATS = 9
WARM_UP = 20
PEER = "peer: django-celery-results, STARTED and SUCCESS"


def main() -> None:
    """Measure in a database of its own."""
    with sqlite_site():
        measure()


def measure() -> None:
    """Print a line for each way."""
    from django.contrib.auth import get_user_model

    import telltale

    owner = get_user_model().objects.create(username="ada")

    def run(owner: object = None) -> None:
        with telltale.track("Import", owner=owner) as task:
            task.current, task.total = 1, 3

    ways: dict[str, Callable[[], None]] = {
        "a run": run,
        "a run with an owner, and its notice": lambda: run(owner),
        PEER: peer_run(),
    }
    figures: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        cpu_ms(way, WARM_UP)
    for _ in range(REPEATS):
        for name, way in ways.items():
            figures[name].append(cpu_ms(way, RUNS))
    peer_ms = statistics.median(figures[PEER])
    print(f"\n{'CPU time of one run, ms, SQLite':<52}{'min':>8}{'median':>8}{'max':>8}{'of peer':>9}{'statements':>12}")
    for name, repeats in figures.items():
        median = statistics.median(repeats)
        spread = f"{min(repeats):>8.2f}{median:>8.2f}{max(repeats):>8.2f}"
        print(f"  {name:<50}{spread}{median / peer_ms:>9.2f}{statements(ways[name]):>12}")


def cpu_ms(way: Callable[[], None], runs: int) -> float:
    """Milliseconds of this process's CPU for each of so many runs."""
    started = time.process_time()
    for _ in range(runs):
        way()
    return (time.process_time() - started) / runs * 1e3


def statements(way: Callable[[], None]) -> int:
    """The number of one run's statements, without those that begin and end transactions."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as captured:
        way()
    framing = ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE")
    return sum(not query["sql"].startswith(framing) for query in captured.captured_queries)


def peer_run() -> Callable[[], None]:
    """Return what `django-celery-results` does for one task."""
    from celery import Celery
    from django_celery_results.backends import DatabaseBackend

    backend = DatabaseBackend(Celery("bench", backend="django-db", broker="memory://", set_as_current=False))

    def run() -> None:
        task_id = str(uuid4())
        backend.store_result(task_id, None, "STARTED")
        backend.store_result(task_id, {"rows": 3}, "SUCCESS")

    return run


if __name__ == "__main__":
    main()
