"""Ten thousand followers of one live server, for ten minutes, through Redis, which is restarted in the middle.

`make load`; LOAD_MINUTES and LOAD_FOLLOWERS change the numbers. The figures are written to var/load.json. The clients
share the server's cores, so the figures show that it holds, not how fast it can be: that is what benchmarks/ measures.
"""

import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.test import override_settings

from telltale import brokers
from telltale.live import tickets
from tests.factories import moved, started, task_of
from tests.load.followers import Followers
from tests.servers import ROOT, Redis, running
from tests.transports.sites import ProcessSite, environment, wait_until

MINUTES = float(os.environ.get("LOAD_MINUTES", "10"))
FOLLOWERS = int(os.environ.get("LOAD_FOLLOWERS", "10000"))
TASKS = 100
SNAPSHOTS_PER_S = 20.0

WARM_UP_S = 30.0
OUTAGE_S = 5.0
CONVERGE_WITHIN_S = 20.0
SAMPLE_S = 5.0
MAX_GROWTH = 1.03
"""The most that resident memory may grow, from the first quarter after the warm-up to the last quarter."""

pytestmark = [pytest.mark.service, pytest.mark.load, pytest.mark.timeout(MINUTES * 60 + 600)]


@dataclass
class ServerMonitor:
    """The server's CPU time and memory."""

    pid: int
    rss_kib: list[int] = field(default_factory=list)
    began_at: float = field(default_factory=time.monotonic)
    cpu_at_first_s: float = 0.0

    def __post_init__(self) -> None:
        self.cpu_at_first_s = self.cpu_s()
        self._next_at = self.began_at

    def cpu_s(self) -> float:
        words = Path(f"/proc/{self.pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def sample(self) -> None:
        if time.monotonic() >= self._next_at:
            self._next_at += SAMPLE_S
            status = Path(f"/proc/{self.pid}/status").read_text()
            self.rss_kib.append(int(status.partition("VmRSS:")[2].split()[0]))

    @property
    def core_share(self) -> float:
        return (self.cpu_s() - self.cpu_at_first_s) / (time.monotonic() - self.began_at)


class Tasks:
    """Running tasks that report in turns, and the last published snapshot of each."""

    def __init__(self, minutes: float) -> None:
        self.claims = [started(task_of()) for _ in range(TASKS)]
        self.newest: list[tuple[int, int]] = [(1, 0)] * TASKS
        """The attempt and seq of each task's last snapshot."""
        self.count = 0
        self._total = minutes * 60 * SNAPSHOTS_PER_S * 2 + 1_000

    def report_for(self, seconds: float, monitor: ServerMonitor) -> None:
        """Report at `SNAPSHOTS_PER_S` for so long."""
        end = time.monotonic() + seconds
        while (now := time.monotonic()) < end:
            self.report()
            monitor.sample()
            time.sleep(max(0.0, now + 1 / SNAPSHOTS_PER_S - time.monotonic()))

    def report(self) -> None:
        """The next task advances by a step."""
        number = self.count % TASKS
        self.count += 1
        seq = self.newest[number][1] + 1
        moved(self.claims[number], self.count / self._total, seq=seq)
        self.newest[number] = (1, seq)


@pytest.fixture
def redis() -> Iterator[Redis]:
    with running(Redis) as server:
        yield server


@pytest.fixture
def server(redis: Redis, transactional_db: None) -> Iterator[ProcessSite]:
    """The live server, which gets this process's messages through Redis."""
    env = environment(CONNECTIONS_PER_ADDRESS=2 * FOLLOWERS) | {"TELLTALE_BROKER": redis.url}
    words = ["telltale.server", "--port", "{port}"]

    def start(directory: Path) -> ProcessSite:
        return ProcessSite(directory, words, env)

    with running(start) as site, override_settings(TELLTALE=django_settings.TELLTALE | {"BROKER": redis.url}):
        brokers.reset()
        yield site
        brokers.reset()


@pytest.fixture
def followers(server: ProcessSite) -> Iterator[Followers]:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    assert hard > FOLLOWERS + 1_000, f"{hard:,} files are too few for {FOLLOWERS:,} followers: raise the hard limit."
    followers = Followers(server.port)
    yield followers
    followers.close()


def test_no_update_is_lost_and_memory_does_not_grow(
    redis: Redis, server: ProcessSite, followers: Followers, publish_figures: Any
) -> None:
    tasks = Tasks(MINUTES)
    ttl_s = MINUTES * 60 + 3_600
    task_tickets = [tickets.issue([f"task:{claim.id}"], ttl_s=ttl_s) for claim in tasks.claims]
    connected_s = followers.connect([task_tickets[number % TASKS] for number in range(FOLLOWERS)])
    assert server.connection_count() == FOLLOWERS

    monitor = ServerMonitor(server.pid)
    half_s = MINUTES * 30 - OUTAGE_S
    tasks.report_for(half_s, monitor)
    before_s = seconds_to_converge(tasks, followers)

    redis.stop()
    tasks.report_for(OUTAGE_S, monitor)
    redis.start()
    after_restart_s = seconds_to_converge(tasks, followers)

    tasks.report_for(half_s, monitor)
    at_the_end_s = seconds_to_converge(tasks, followers)

    after_warm_up = monitor.rss_kib[int(min(WARM_UP_S, half_s / 2) / SAMPLE_S) :]
    quarter = max(1, len(after_warm_up) // 4)
    first, last = statistics.median(after_warm_up[:quarter]), statistics.median(after_warm_up[-quarter:])
    publish_figures(
        followers=FOLLOWERS,
        minutes=MINUTES,
        all_connected_s=round(connected_s, 1),
        snapshots=tasks.count,
        deliveries=followers.deliveries,
        core_share=round(monitor.core_share, 3),
        rss_mib_first=round(first / 1024, 1),
        rss_mib_last=round(last / 1024, 1),
        converged_s={
            "before": before_s,
            "after the restart of Redis": after_restart_s,
            "at the end": at_the_end_s,
        },
    )
    assert followers.went_back == 0
    assert (followers.close_reasons, sum(follower.is_lost for follower in followers.all)) == ([], 0)
    assert server.connection_count() == FOLLOWERS
    assert after_restart_s <= CONVERGE_WITHIN_S
    assert last <= first * MAX_GROWTH


def seconds_to_converge(tasks: Tasks, followers: Followers) -> float:
    """The seconds until each follower has its task's newest snapshot."""
    began = time.monotonic()
    wait_until(lambda: all_are_current(tasks, followers), "all have the newest snapshots", 3 * CONVERGE_WITHIN_S)
    return round(time.monotonic() - began, 2)


def all_are_current(tasks: Tasks, followers: Followers) -> bool:
    return all(follower.newest == tasks.newest[follower.number % TASKS] for follower in followers.all)


@pytest.fixture
def publish_figures(capsys: pytest.CaptureFixture[str]) -> Callable[..., None]:
    """Writes the figures to the terminal and to var/load.json."""

    def publish(**figures: object) -> None:
        text = json.dumps(figures, indent=2)
        (ROOT / "var").mkdir(exist_ok=True)
        (ROOT / "var" / "load.json").write_text(text + "\n")
        with capsys.disabled():
            sys.stdout.write(f"\n{text}\n")

    return publish
