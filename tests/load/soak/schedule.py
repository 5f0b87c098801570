"""What happens in a soak, in order; returns the record of it."""

import argparse
import os
import resource
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from django.core.management import call_command

from telltale.live import tickets
from telltale.models import TaskState
from tests.load.soak.oracle import Findings, examine
from tests.load.soak.people import People
from tests.load.soak.processes import Growth, Monitor, Worker, usage_of
from tests.load.soak.worker import session_of
from tests.servers import Redis
from tests.transports.sites import ProcessSite, environment, wait_until

FOLLOWERS_PER_OWNER: Final = 10
EXAMPLES: Final = 5
"""How many examples of each finding the record has."""

LEFT_OVER: Final = 20
"""File descriptors or threads that may be more than before: a pool of threads, a connection that is being renewed."""

LONG_MINUTES: Final = 10.0
MAX_GROWTH: Final = 1.15
"""The most that memory may grow in the quiet half of a run of `LONG_MINUTES` or more."""

SHORT_LEASES: Final = {"BEAT_S": 3.0, "STALLED_S": 8.0, "LEASE_S": 15.0}
"""For a run of a few minutes, in which a killed worker's tasks must be lost."""


class Soak:
    """All processes of one run."""

    def __init__(self, directory: Path, options: argparse.Namespace, stack: ExitStack) -> None:
        self.options = options
        self.seconds = options.minutes * 60
        # A tracker is sampled ten times a second, so each task has at most two updates a second here.
        self.owners = max(1, options.followers // FOLLOWERS_PER_OWNER, round(options.updates / 2))
        self.began = time.monotonic()
        self.phases: dict[str, float] = {}
        self.agreed_after_s = 0.0
        self.monitor = Monitor()
        stack.callback(self.monitor.close)
        self.redis = Redis(directory)
        stack.callback(self.redis.stop)
        env = self._environment()
        self.server = ProcessSite(directory, ["telltale.server", "--port", "{port}"], env)
        stack.callback(self.server.stop)
        self.monitor.pids = {"live server": self.server.pid}
        self.base = usage_of(self.server.pid)
        self.ends = [directory / f"ends-{number}.txt" for number in range(options.workers)]
        self.workers = [self._worker(directory, number, env, stack) for number in range(options.workers)]
        self.people = People(self.server.port)
        stack.callback(self.people.close)

    def _environment(self) -> dict[str, str]:
        more: dict[str, Any] = {"CONNECTIONS_PER_ADDRESS": 3 * self.options.followers + 20_000}
        more |= SHORT_LEASES if self.options.minutes < 10 else {}
        return environment(**more) | {"TELLTALE_BROKER": self.redis.url}

    def _worker(self, directory: Path, number: int, env: dict[str, str], stack: ExitStack) -> Worker:
        share = [self.owners * n // self.options.workers for n in (number, number + 1)]
        period_s = self.owners / self.options.updates
        task_s = min(60.0, self.seconds / 5)
        arguments = {"first": share[0], "last": share[1], "period": period_s, "task-s": task_s}
        words = [word for name, value in arguments.items() for word in (f"--{name}", str(value))]
        worker = Worker(directory / f"worker-{number}.log", env, [*words, "--ends", str(self.ends[number])])
        stack.callback(worker.kill)
        self.monitor.pids[f"worker {number + 1}"] = worker.pid
        return worker

    def tickets(self, count: int) -> list[tuple[int, str]]:
        """The owner and the ticket of so many followers."""
        ttl_s = self.seconds + 7_200
        of_owner = [tickets.issue([f"session:{session_of(owner)}"], ttl_s=ttl_s) for owner in range(self.owners)]
        return [(number % self.owners, of_owner[number % self.owners]) for number in range(count)]

    def all_are_back(self) -> bool:
        """Whether each follower is connected, and the server counts as many."""
        return self.people.connected == self.server.connection_count() == self.options.followers

    def phase(self, name: str, act: Callable[[], object]) -> None:
        """Do it, until all followers are connected; note how long that took."""
        began = time.monotonic()
        act()
        try:
            wait_until(self.all_are_back, f"all followers are connected after: {name}", 300.0)
        except AssertionError as error:
            counted = self.server.connection_count()
            error.add_note(f"{self.people.connected} followers are connected, and the server counts {counted}.")
            raise
        self.phases[name] = round(time.monotonic() - began, 1)
        say(f"{time.monotonic() - self.began:6.0f} s  {name}: {self.phases[name]} s")

    def steady_until(self, share: float) -> None:
        """Let the work go on until this share of the time is over."""
        time.sleep(max(0.0, self.began + share * self.seconds - time.monotonic()))


def run(directory: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Run the soak; return its record."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    assert hard > options.followers + 2_000, f"{hard:,} files are too few for {options.followers:,} followers."
    call_command("migrate", verbosity=0)
    with ExitStack() as stack:
        soak = Soak(directory, options, stack)
        disturb(soak)
        undisturbed_since = time.monotonic()
        soak.steady_until(1.0)
        growth = {name: soak.monitor.growth(name, undisturbed_since) for name in soak.monitor.pids}
        for worker in soak.workers:
            worker.stop()
        findings = settle(soak)
        soak.people.leave()
        wait_until(lambda: soak.server.connection_count() == 0, "all connections are closed", 60.0)
        after = usage_of(soak.server.pid)
    assert soak.base is not None
    assert after is not None
    left = {"descriptors": after.descriptors - soak.base.descriptors, "threads": after.threads - soak.base.threads}
    leaks = leaks_of(growth, left, options.minutes)
    return record_of(soak, findings, {name: it._asdict() for name, it in growth.items()}, left, leaks)


def leaks_of(growth: Mapping[str, Growth], left: Mapping[str, int], minutes: float) -> list[str]:
    """What has grown more than it may."""
    leaks = [f"{name}: {count} left over" for name, count in left.items() if count > LEFT_OVER]
    for name, it in growth.items():
        if it.descriptors[1] > it.descriptors[0] + LEFT_OVER or it.threads[1] > it.threads[0] + LEFT_OVER:
            leaks.append(f"{name}: file descriptors {it.descriptors}, threads {it.threads}")
        if minutes >= LONG_MINUTES and it.rss_mib[1] > MAX_GROWTH * it.rss_mib[0]:
            leaks.append(f"{name}: memory {it.rss_mib}")
    return leaks


def disturb(soak: Soak) -> None:
    """The first half: the arrival, the storm, and each process ended once."""
    options, people = soak.options, soak.people
    soak.phase("all followers arrive", lambda: people.arrive(soak.tickets(options.followers), per_s=options.connects))
    soak.steady_until(0.1)
    visits = soak.tickets(round(options.connects * min(30.0, soak.seconds / 15)))
    soak.phase("a storm of visits", lambda: people.pass_by(visits, per_s=options.connects))
    soak.steady_until(0.2)
    soak.phase("the live server is restarted", lambda: restart(soak, is_killed=False))
    soak.steady_until(0.3)
    soak.phase("Redis is restarted", lambda: (soak.redis.stop(), time.sleep(3), soak.redis.start()))
    soak.steady_until(0.35)
    soak.phase("a worker is killed and started again", lambda: replace_worker(soak))
    soak.steady_until(0.4)
    soak.phase("the live server is killed", lambda: restart(soak, is_killed=True))
    soak.steady_until(0.5)


def restart(soak: Soak, *, is_killed: bool) -> None:
    """End the live server, and start it again at the same port."""
    if is_killed:
        os.kill(soak.server.pid, 9)
        soak.server.wait_for_exit(10.0)
    else:
        soak.server.begin_shutdown()
        soak.server.wait_for_exit(60.0)
    soak.server.start()
    soak.monitor.pids["live server"] = soak.server.pid


def replace_worker(soak: Soak) -> None:
    """Kill the first worker, whose tasks are lost then, and start it again."""
    soak.workers[0].kill()
    soak.workers[0].start()
    soak.monitor.pids["worker 1"] = soak.workers[0].pid


def settle(soak: Soak) -> Findings:
    """Wait until all tasks have ended and the followers know it, as long as the bounds say; return what is wrong."""
    began = time.monotonic()
    wait_until(lambda: not TaskState.objects.filter(ended_at=None).exists(), "all tasks have ended", 300.0)
    give_up_at = time.monotonic() + 40.0
    findings = examine(soak.people.views(), soak.ends)
    while not findings.is_clean and time.monotonic() < give_up_at:
        time.sleep(2.0)
        findings = examine(soak.people.views(), soak.ends)
    soak.agreed_after_s = round(time.monotonic() - began, 1)
    return findings


def record_of(
    soak: Soak, findings: Findings, growth: dict[str, Any], left: dict[str, int], leaks: list[str]
) -> dict[str, Any]:
    """All figures, as JSON."""
    people, options = soak.people, soak.options
    delays = sorted(people.delays_ms.items())
    found = asdict(findings)
    for name in ("lost_ends", "missing", "unended", "wrong"):
        found[name] = {"count": len(found[name]), "examples": found[name][:EXAMPLES]}
    return {
        "at": datetime.now(UTC).strftime("%Y-%m-%d"),
        "is_clean": findings.is_clean and people.corrections == 0 and not leaks,
        "minutes": options.minutes,
        "followers": options.followers,
        "owners": soak.owners,
        "updates_per_s": options.updates,
        "connects_per_s": options.connects,
        "phases_s": soak.phases,
        "agreed_after_s": soak.agreed_after_s,
        "found": found,
        "deliveries": people.deliveries,
        "reconnects": people.returns,
        "visits": people.passers_by,
        "closes": dict(people.closes),
        "corrections": people.corrections,
        "delay_ms": {f"p{share}": quantile(delays, share / 100) for share in (50, 95, 99)},
        "growth": growth,
        "left_after_all_left": left,
        "leaks": leaks,
    }


def quantile(counts: list[tuple[int, int]], share: float) -> int | None:
    """The value below which this share of all counted values are; None without values."""
    left = sum(count for _value, count in counts) * share
    for value, count in counts:
        left -= count
        if left <= 0:
            return value
    return None


def say(line: str) -> None:
    """Write to standard output at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
