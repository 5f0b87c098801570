"""Ten thousand followers of one live server, for ten minutes, through Redis, which is restarted in the middle.

`make load`; LOAD_MINUTES and LOAD_FOLLOWERS choose others. The figures go to var/load.json. The client runs beside
the server on the same cores, so they tell what holds, not what is possible: that is what benchmarks are for.
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
from tests.load.followers import Crowd
from tests.servers import ROOT, Redis, running
from tests.transports.sites import ProcessSite, environment, until

MINUTES = float(os.environ.get("LOAD_MINUTES", "10"))
FOLLOWERS = int(os.environ.get("LOAD_FOLLOWERS", "10000"))
TASKS = 100
SNAPSHOTS_PER_S = 20.0

WARM_UP_S = 30.0
OUTAGE_S = 5.0
CONVERGES_WITHIN_S = 20.0
SAMPLE_S = 5.0
GROWTH = 1.03
"""Of the resident memory, from the first quarter after the warm-up to the last one."""

pytestmark = [pytest.mark.service, pytest.mark.load, pytest.mark.timeout(MINUTES * 60 + 600)]


@dataclass
class Watch:
    """What the server costs, sampled now and then."""

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

    def look(self) -> None:
        if time.monotonic() >= self._next_at:
            self._next_at += SAMPLE_S
            status = Path(f"/proc/{self.pid}/status").read_text()
            self.rss_kib.append(int(status.partition("VmRSS:")[2].split()[0]))

    @property
    def share_of_a_core(self) -> float:
        return (self.cpu_s() - self.cpu_at_first_s) / (time.monotonic() - self.began_at)


class Work:
    """The tasks, which move one after another; of each is known what was told last."""

    def __init__(self, minutes: float) -> None:
        self.claims = [started(task_of()) for _ in range(TASKS)]
        self.told: list[tuple[int, int]] = [(1, 0)] * TASKS
        self.count = 0
        self._total = minutes * 60 * SNAPSHOTS_PER_S * 2 + 1_000

    def goes_on(self, for_s: float, watch: Watch) -> None:
        """At its pace, for so long."""
        end = time.monotonic() + for_s
        while (now := time.monotonic()) < end:
            self.moves()
            watch.look()
            time.sleep(max(0.0, now + 1 / SNAPSHOTS_PER_S - time.monotonic()))

    def moves(self) -> None:
        """One of them, by a step."""
        number = self.count % TASKS
        self.count += 1
        seq = self.told[number][1] + 1
        moved(self.claims[number], self.count / self._total, seq=seq)
        self.told[number] = (1, seq)


@pytest.fixture
def redis() -> Iterator[Redis]:
    with running(Redis) as server:
        yield server


@pytest.fixture
def server(redis: Redis, transactional_db: None) -> Iterator[ProcessSite]:
    """The live server, which hears this process by Redis."""
    env = environment(CONNECTIONS_PER_ADDRESS=2 * FOLLOWERS) | {"TELLTALE_BROKER": redis.url}
    words = ["telltale.server", "--port", "{port}"]

    def start(directory: Path) -> ProcessSite:
        return ProcessSite(directory, words, env)

    with running(start) as site, override_settings(TELLTALE=django_settings.TELLTALE | {"BROKER": redis.url}):
        brokers.reset()
        yield site
        brokers.reset()


@pytest.fixture
def crowd(server: ProcessSite) -> Iterator[Crowd]:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    assert hard > FOLLOWERS + 1_000, f"{hard:,} files are too few for {FOLLOWERS:,} followers: raise the hard limit."
    crowd = Crowd(server.port)
    yield crowd
    crowd.goes()


def test_nothing_is_lost_and_nothing_grows(redis: Redis, server: ProcessSite, crowd: Crowd, say: Any) -> None:
    work = Work(MINUTES)
    hour_s = MINUTES * 60 + 3_600
    each = [tickets.issue([f"task:{claim.id}"], ttl_s=hour_s) for claim in work.claims]
    came_s = crowd.comes([each[number % TASKS] for number in range(FOLLOWERS)])
    assert server.connection_count() == FOLLOWERS

    watch = Watch(server.pid)
    half_s = MINUTES * 30 - OUTAGE_S
    work.goes_on(half_s, watch)
    converged_s = converges(work, crowd)

    redis.stop()
    work.goes_on(OUTAGE_S, watch)
    redis.start()
    after_a_restart_s = converges(work, crowd)

    work.goes_on(half_s, watch)
    at_the_end_s = converges(work, crowd)

    warm = watch.rss_kib[int(min(WARM_UP_S, half_s / 2) / SAMPLE_S) :]
    quarter = max(1, len(warm) // 4)
    first, last = statistics.median(warm[:quarter]), statistics.median(warm[-quarter:])
    say(
        followers=FOLLOWERS,
        minutes=MINUTES,
        all_came_within_s=round(came_s, 1),
        snapshots=work.count,
        deliveries=crowd.deliveries,
        share_of_a_core=round(watch.share_of_a_core, 3),
        rss_mib_at_first=round(first / 1024, 1),
        rss_mib_at_last=round(last / 1024, 1),
        converged_s={
            "before": converged_s,
            "after the restart of Redis": after_a_restart_s,
            "at the end": at_the_end_s,
        },
    )
    assert crowd.went_back == 0
    assert (crowd.farewells, sum(f.is_lost for f in crowd.followers)) == ([], 0)
    assert server.connection_count() == FOLLOWERS
    assert after_a_restart_s <= CONVERGES_WITHIN_S
    assert last <= first * GROWTH


def converges(work: Work, crowd: Crowd) -> float:
    """Seconds until each follower has seen what was told last of its task."""
    began = time.monotonic()
    until(lambda: all_saw_the_last(work, crowd), "all have seen the last snapshots", 3 * CONVERGES_WITHIN_S)
    return round(time.monotonic() - began, 2)


def all_saw_the_last(work: Work, crowd: Crowd) -> bool:
    return all(follower.seen == work.told[follower.number % TASKS] for follower in crowd.followers)


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[..., None]:
    """The figures, to the terminal and to var/load.json."""

    def say(**figures: object) -> None:
        text = json.dumps(figures, indent=2)
        (ROOT / "var").mkdir(exist_ok=True)
        (ROOT / "var" / "load.json").write_text(text + "\n")
        with capsys.disabled():
            sys.stdout.write(f"\n{text}\n")

    return say
