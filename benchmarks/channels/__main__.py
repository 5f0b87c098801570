"""Measures what following costs in a Channels project, prints a table, and writes var/bench/channels.json. 8 minutes.

    python -m benchmarks.channels [--quick] [--write-docs]

Every ratio is to a peer in the same round; the order of both changes from round to round. Processes that follow have
no server: what a server adds for each message to a client is the same for all. Redis' own CPU time is not included.
"""

import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from benchmarks.results.markdown import table, with_block
from benchmarks.rig.machine import description
from benchmarks.rig.paths import DOCS, RECORDS, ROOT
from tests.servers import Redis, running

CORE: Final = "channels_redis.core.RedisChannelLayer"
PUBSUB: Final = "channels_redis.pubsub.RedisPubSubChannelLayer"

RECORD: Final = RECORDS / "channels.json"
PAGE: Final = DOCS / "performance.md"
BLOCK: Final = "channels"

Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison."""

    name: str
    follower: str
    """`bare`, `mixin` or `page`."""
    layer: str
    broker: str

    @property
    def publisher(self) -> str:
        """The kind of publisher."""
        return "bare" if self.follower == "bare" else "telltale"


def bare(layer: str) -> Side:
    """Channels alone."""
    return Side("bare consumer", "bare", layer, "none://")


def mixin(layer: str) -> Side:
    """The same consumer with `FollowMixin`."""
    return Side("FollowMixin", "mixin", layer, "channels://")


def page(name: str, layer: str, broker: str = "channels://") -> Side:
    """Pages that follow through the driver."""
    return Side(name, "page", layer, broker)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Ours and its peer, under one load."""

    title: str
    ours: Side
    peer: Side
    followers: int
    topics: int
    per_s: int
    """Updates of all topics a second."""


REDIS: Final = page("redis://", PUBSUB, "redis")
COMPARISONS: Final = [
    Comparison("one task, 10 updates/s, 100 consumers", mixin(PUBSUB), bare(PUBSUB), 100, 1, 10),
    Comparison("one task, 100 updates/s, 20 consumers", mixin(PUBSUB), bare(PUBSUB), 20, 1, 100),
    Comparison("100 tasks, 10 updates/s each, a consumer for each", mixin(PUBSUB), bare(PUBSUB), 100, 100, 1_000),
    Comparison("one task, 10 updates/s, 100 consumers, RedisChannelLayer", mixin(CORE), bare(CORE), 100, 1, 10),
    Comparison("one task, 5 updates/s, one page, pub/sub layer", page("channels://", PUBSUB), REDIS, 1, 1, 5),
    Comparison("one task, 5 updates/s, one page, RedisChannelLayer", page("channels://", CORE), REDIS, 1, 1, 5),
    Comparison(
        "100 tasks, 10 updates/s each, 100 pages, pub/sub layer", page("channels://", PUBSUB), REDIS, 100, 100, 1_000
    ),
    Comparison(
        "100 tasks, 10 updates/s each, 100 pages, RedisChannelLayer", page("channels://", CORE), REDIS, 100, 100, 1_000
    ),
]


def main() -> None:
    """Measure, print, write the record."""
    is_quick = "--quick" in sys.argv
    rounds, seconds = (1, 3.0) if is_quick else (3, 5.0)
    results = {comparison.title: measure(comparison, rounds, seconds) for comparison in COMPARISONS}
    text = as_table(results)
    print(text)
    RECORD.parent.mkdir(parents=True, exist_ok=True)
    RECORD.write_text(json.dumps({"machine": description(), "results": results}, indent=1))
    if "--write-docs" in sys.argv:
        PAGE.write_text(with_block(PAGE.read_text(), BLOCK, f"Measured on {description()}.\n\n{text}"))


def as_table(results: Mapping[str, Sequence[Sequence[Figures]]]) -> str:
    """A line for each comparison."""
    return table(
        ("load", "ours", "peer", "receiving, CPU", "ratio", "publishing, CPU", "ratio", "latency"),
        [row(comparison, results[comparison.title]) for comparison in COMPARISONS],
    )


def measure(comparison: Comparison, rounds: int, seconds: float) -> list[tuple[Figures, Figures]]:
    """The figures of ours and the peer, one pair for each round."""
    pairs = []
    for number in range(rounds):
        sides = [comparison.ours, comparison.peer]
        figures = {side: measure_side(side, comparison, seconds) for side in (reversed(sides) if number % 2 else sides)}
        pairs.append((figures[comparison.ours], figures[comparison.peer]))
        print(comparison.title, pairs[-1], file=sys.stderr)
    return pairs


def measure_side(side: Side, comparison: Comparison, seconds: float) -> Figures:
    """Publish for `seconds`, and measure both processes."""
    with running(Redis) as redis, tempfile.TemporaryDirectory() as directory:
        env = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "benchmarks.channels.settings",
            "BENCH_DIRECTORY": directory,
            "BENCH_SECRET": secrets.token_hex(),
            "BENCH_REDIS": redis.url,
            "BENCH_LAYER": side.layer,
            "BENCH_BROKER": redis.url if side.broker == "redis" else side.broker,
        }
        run(env, "django", "migrate", "--verbosity=0")
        arguments = (side.follower, str(comparison.followers), str(comparison.topics))
        with receiver(env, arguments) as process:
            figures = take(process)
            load = (str(comparison.topics), str(comparison.per_s), str(seconds))
            published_us = float(run(env, "benchmarks.channels.publisher", side.publisher, *load))
            figures = take(process)
    updates = comparison.per_s * seconds
    return {
        "receiving_us": figures["cpu_us"] / (updates * comparison.followers / comparison.topics),
        "publishing_us": published_us / updates,
        "messages": figures["messages"],
        "latency_ms": figures["latency_ms"],
    }


def run(env: Mapping[str, str], module: str, *arguments: str) -> str:
    """Run a module; return its output."""
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, cwd=ROOT, env=env, check=True, stdout=subprocess.PIPE, text=True, timeout=120).stdout


@contextmanager
def receiver(env: Mapping[str, str], arguments: Sequence[str]) -> Iterator["subprocess.Popen[str]"]:
    """The process with the followers, once they follow."""
    command = [sys.executable, "-m", "benchmarks.channels.receiver", *arguments]
    process = subprocess.Popen(command, cwd=ROOT, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process:
        try:
            assert process.stdout is not None
            if process.stdout.readline() != "ready\n":
                raise RuntimeError(f"{' '.join(command)} ended before all followers followed.")
            yield process
        finally:
            process.kill()


def take(process: "subprocess.Popen[str]") -> Figures:
    """What the process has measured since the last call."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    figures: Figures = json.loads(process.stdout.readline())
    return figures


def row(comparison: Comparison, pairs: Sequence[Sequence[Figures]]) -> tuple[str, ...]:
    """One line of the table: medians, and the ratios' minimum, median and maximum."""
    cells = [comparison.title, comparison.ours.name, comparison.peer.name]
    for name in ("receiving_us", "publishing_us"):
        ours, peer = ([pair[side][name] for pair in pairs] for side in (0, 1))
        ratios = sorted(a / b for a, b in zip(ours, peer, strict=True))
        cells.append(f"{_number(ours)} µs, {_number(peer)} µs")
        cells.append(f"{ratios[0]:.3g} – {statistics.median(ratios):.3g} – {ratios[-1]:.3g}")
    ours, peer = ([pair[side]["latency_ms"] for pair in pairs] for side in (0, 1))
    has_latency = comparison.followers == 1
    cells.append(f"{_number(ours)} ms, {_number(peer)} ms" if has_latency else "–")
    return tuple(cells)


def _number(figures: Sequence[float]) -> str:
    median = statistics.median(figures)
    return f"{median:,.0f}" if median >= 100 else f"{median:.3g}"


if __name__ == "__main__":
    main()
