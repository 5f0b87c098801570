"""Measure all, print one table, keep the record.

Every ratio is to a peer in the same run: one `save(update_fields)` of Django, on the same database where the row
has one, else on SQLite; a model's `save()` every 100 turns; one `update_state` of Celery through Redis.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
os.environ["TELLTALE_BROKER"] = "memory://"

import django

django.setup()

from benchmarks.reporting import looks, many_workers  # noqa: E402 (Django first)
from tests.servers import Redis, running  # noqa: E402

RECORD = Path("var/bench/reporting.json")
STATES = 500
TURNS_PER_S = 1_000
"""Of the task in the comparison with recipes."""


def main() -> None:
    """In about a minute and a half."""
    figures = looks.measured()
    databases = {name: database(*how) for name, how in DATABASES.items()}
    with running(Redis) as redis:
        figures["peer: Celery's update_state through Redis: a call"] = update_states(redis.url)
    loads = []
    for batches_per_s in (1.0, 10.0):
        with running(Redis) as redis:
            loads.append(many_workers.measured(redis, batches_per_s))

    peer_us = statistics.median(databases["SQLite"]["peer: save(update_fields): a task"])
    show("10,000 tasks in one process, µs", figures, peer_us)
    for name, measured in databases.items():
        show(f"{name}, µs", measured, statistics.median(measured["peer: save(update_fields): a task"]))
    show_recipes(figures, databases["SQLite"])
    print(f"\n{many_workers.WORKERS:,} workers on one Redis, each with one task that moves")
    for load in loads:
        print(
            f"{load.batches_per_s:>4.0f} batches/s each: {load.messages_per_s:>7,.0f} PUBLISH/s, "
            f"{load.cpu_us_per_message:.1f} µs of Redis each, {load.core:.0%} of its core: "
            f"room for {many_workers.WORKERS / load.core * 0.7:,.0f} workers at 70 %"
        )
    RECORD.parent.mkdir(parents=True, exist_ok=True)
    record = {"process": figures, "databases": databases, "redis": [asdict(load) for load in loads]}
    RECORD.write_text(json.dumps(record, indent=1))


DATABASES: dict[str, Sequence[str]] = {
    "SQLite": (),
    "PostgreSQL": ("-m", "tests.servers", "postgres", "--", sys.executable),
    "MariaDB": ("-m", "tests.servers", "mariadb", "--", sys.executable),
}
"""What starts each, before the program."""


def database(*start: str) -> dict[str, list[float]]:
    """The saver's part there, in a process of its own."""
    command = [sys.executable, *start, "-W", "ignore", "-m", "benchmarks.reporting.database"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=120)
    measured: dict[str, list[float]] = json.loads(done.stdout)
    return measured


def update_states(url: str) -> list[float]:
    """What a task's `self.update_state(state="PROGRESS", meta=…)` does, in microseconds."""
    from celery import Celery

    backend = Celery("bench", backend=url, set_as_current=False).backend
    rounds = []
    for _ in range(looks.REPEATS):
        began = time.perf_counter()
        for n in range(STATES):
            backend.store_result("00000000-0000-0000-0000-000000000000", {"current": n, "total": STATES}, "PROGRESS")
        rounds.append((time.perf_counter() - began) / STATES * 1e6)
    return rounds


def show(title: str, figures: dict[str, list[float]], peer_us: float) -> None:
    """One section of the table."""
    print(f"\n{title:<58}{'min':>9}{'median':>9}{'max':>9}{'of a save(update_fields)':>26}")
    for name, each in figures.items():
        ratio = "" if name.startswith(("memory", "an end")) else f"{statistics.median(each) / peer_us:.4f}"
        print(f"  {name:<56}{min(each):>9.2f}{statistics.median(each):>9.2f}{max(each):>9.2f}{ratio:>26}")


def show_recipes(figures: dict[str, list[float]], sqlite: dict[str, list[float]]) -> None:
    """What one task's loop costs its process each second, told by Telltale and by the usual recipes."""
    typical = {name: statistics.median(each) for name, each in (figures | sqlite).items()}
    told = typical["look, all moved: a task"] + typical["encode and hand over, memory://: a change"]
    costs = {
        "Telltale: 10 looks told, half a save": 10 * told + 0.5 * typical["save progress: a task"],
        "a model's save() every 100 turns": TURNS_PER_S / 100 * typical["peer: a model's save(): a task"],
        "update_state every turn": TURNS_PER_S * typical["peer: Celery's update_state through Redis: a call"],
    }
    first = next(iter(costs.values()))
    print(f"\nA loop of {TURNS_PER_S:,} turns a second, µs of each second")
    for name, cost in costs.items():
        print(f"  {name:<56}{cost:>9,.0f}{cost / first:>8.1f}x")


if __name__ == "__main__":
    main()
