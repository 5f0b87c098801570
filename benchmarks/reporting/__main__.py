"""Measures reporting at large numbers, prints a table and writes a record to var/bench/. Takes about 90 seconds.

Every ratio is to a peer in the same run: `save(update_fields)` of Django, on the same database where the row has one,
else on SQLite; a model's `save()` every 100 turns of a loop; `update_state` of Celery through Redis.
"""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict

ENVIRONMENT = dict(os.environ)
"""Before the tests' settings choose a temporary directory, in which a database server of another user can't write."""

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
os.environ["TELLTALE_BROKER"] = "memory://"

import django  # noqa: E402 (after its settings are chosen)

django.setup()

from benchmarks.reporting import many_workers, sampling  # noqa: E402 (Django first)
from benchmarks.reporting.database import PEER_FIELDS, PEER_SAVE, SAVE  # noqa: E402
from benchmarks.reporting.timing import us_each  # noqa: E402
from benchmarks.rig.paths import RECORDS, ROOT  # noqa: E402
from tests.servers import Redis, running  # noqa: E402

RECORD = RECORDS / "reporting.json"
UPDATES = 500
TURNS_PER_S = 1_000
"""Of the loop in the comparison with the usual ways."""
READS_PER_S = 10
PEER_UPDATE = "peer: Celery's update_state through Redis: a call"

DATABASES: dict[str, Sequence[str]] = {
    "SQLite": (),
    "PostgreSQL": ("-m", "tests.servers", "postgres", "--", sys.executable),
    "MariaDB": ("-m", "tests.servers", "mariadb", "--", sys.executable),
}
"""The arguments that start each database, before the program."""

Figures = dict[str, list[float]]


def main() -> None:
    """Measure, print, write the record."""
    figures = sampling.measure()
    databases = {name: measure_database(*start) for name, start in DATABASES.items()}
    with running(Redis) as redis:
        figures[PEER_UPDATE] = measure_update_state(redis.url)
    loads = []
    for batches_per_s in (1.0, 10.0):
        with running(Redis) as redis:
            loads.append(many_workers.measure(redis, batches_per_s))

    show("10,000 tasks in one process, µs", figures, statistics.median(databases["SQLite"][PEER_FIELDS]))
    for name, measured in databases.items():
        show(f"{name}, µs", measured, statistics.median(measured[PEER_FIELDS]))
    show_loop(figures | databases["SQLite"])
    show_workers(loads)
    RECORD.parent.mkdir(parents=True, exist_ok=True)
    record = {"process": figures, "databases": databases, "redis": [asdict(load) for load in loads]}
    RECORD.write_text(json.dumps(record, indent=1))


def measure_database(*start: str) -> Figures:
    """The saver's part on one database, in a process of its own."""
    command = [sys.executable, *start, "-W", "ignore", "-m", "benchmarks.reporting.database"]
    done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, check=True, stdout=subprocess.PIPE, timeout=120)
    measured: Figures = json.loads(done.stdout)
    return measured


def measure_update_state(url: str) -> list[float]:
    """Microseconds of the write that a task's `self.update_state(state="PROGRESS", meta=…)` makes."""
    from celery import Celery

    backend = Celery("bench", backend=url, set_as_current=False).backend

    def update() -> None:
        for n in range(UPDATES):
            backend.store_result("00000000-0000-0000-0000-000000000000", {"current": n, "total": UPDATES}, "PROGRESS")

    return us_each(update, UPDATES)


def show(title: str, figures: Figures, peer_us: float) -> None:
    """Print one section of the table."""
    print(f"\n{title:<58}{'min':>9}{'median':>9}{'max':>9}{'of a save(update_fields)':>26}")
    for name, repeats in figures.items():
        median = statistics.median(repeats)
        ratio = "" if name.startswith(("memory", "an end")) else f"{median / peer_us:.4f}"
        print(f"  {name:<56}{min(repeats):>9.2f}{median:>9.2f}{max(repeats):>9.2f}{ratio:>26}")


def show_loop(figures: Figures) -> None:
    """Print the cost per second of one task's loop: with Telltale, and in the usual ways."""
    median = {name: statistics.median(repeats) for name, repeats in figures.items()}
    published_us = median[sampling.ALL_MOVED] + median[sampling.PUBLISH]
    costs = {
        "Telltale: 10 published changes, half a save": READS_PER_S * published_us + 0.5 * median[SAVE],
        "a model's save() every 100 turns": TURNS_PER_S / 100 * median[PEER_SAVE],
        "update_state every turn": TURNS_PER_S * median[PEER_UPDATE],
    }
    ours = next(iter(costs.values()))
    print(f"\nA loop of {TURNS_PER_S:,} turns a second, µs of each second")
    for name, cost in costs.items():
        print(f"  {name:<56}{cost:>9,.0f}{cost / ours:>8.1f}x")


def show_workers(loads: Sequence[many_workers.RedisLoad]) -> None:
    """Print what many workers cost Redis."""
    print(f"\n{many_workers.WORKERS:,} workers on one Redis, each with one moving task")
    for load in loads:
        print(
            f"{load.batches_per_s:>4.0f} batches/s each: {load.messages_per_s:>7,.0f} PUBLISH/s, "
            f"{load.cpu_us_per_message:.1f} µs of Redis each, {load.core_share:.0%} of its core: "
            f"room for {many_workers.WORKERS / load.core_share * 0.7:,.0f} workers at 70 %"
        )


if __name__ == "__main__":
    main()
