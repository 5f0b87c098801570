"""The plan: all experiments as data. The targets for their figures are in `benchmarks/results/rows.py`."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Final

from benchmarks.contenders import baselines, peers, telltale
from benchmarks.experiments import scenarios
from benchmarks.experiments.scenarios import Scenario, connect, constant_rate
from benchmarks.rig.contender import Contender

BASELINE_WS, BASELINE_SSE = baselines.BaselineWebSocket(), baselines.BaselineEventStream()
BARE_SUBSCRIBER = baselines.BareSubscriber()
BARE_ASGI_WS, BARE_ASGI_SSE = peers.BareAsgiWebSocket(), peers.BareAsgiEventStream()
CHANNELS, SOCKETIO, EVENTSTREAM = peers.Channels(), peers.SocketIO(), peers.EventStream()
LIVE_WS, LIVE_TASK, PUSHER_WS = telltale.LiveWebSocket(), telltale.LiveTask(), telltale.PusherWebSocket()
UNPACED_WS, UNPACED_SSE = telltale.UnpacedWebSocket(), telltale.UnpacedEventStream()
MOUNTED_WS, MOUNTED_SSE = telltale.UnpacedMountedWebSocket(), telltale.UnpacedMountedEventStream()

# Telltale sends a follower ten frames a second at most; more messages than that share frames.
TWO_PER_S: Final = partial(constant_rate, per_second=2.0)
"""For peers that do not keep up with more."""
FIVE_PER_S: Final = partial(constant_rate, per_second=5.0)
"""Well below the pace: each message has its own frame."""
TEN_PER_S: Final = partial(constant_rate, per_second=10.0, label="at_10_per_s")
THOUSAND_PER_S: Final = partial(constant_rate, per_second=1_000.0, label="at_1000_per_s")
"""Far above the pace, and more than a person can read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """Servers that are started one after the other; each goes through the same scenarios."""

    name: str
    contenders: tuple[Contender, ...]
    scenarios: tuple[Scenario, ...]
    followers: int
    """The most followers at any time, besides those of the warm-up."""
    topics: int = 1
    is_rare: bool = False
    """Runs in two rounds of five: it takes long, and its figures are far from any target."""

    def runs_in(self, number: int, count: int) -> bool:
        """Whether it runs in round `number` (from 0) of `count`."""
        return not self.is_rare or number < max(1, count * 2 // 5)


EXPERIMENTS: Final = (
    Experiment(
        name="1k WebSocket",
        contenders=(BASELINE_WS, BARE_ASGI_WS, UNPACED_WS, PUSHER_WS, MOUNTED_WS, LIVE_WS),
        scenarios=(connect(1_000), scenarios.broadcast, FIVE_PER_S, TEN_PER_S),
        followers=1_000,
    ),
    Experiment(
        name="1k peers",
        contenders=(CHANNELS, SOCKETIO, EVENTSTREAM),
        scenarios=(connect(1_000), scenarios.broadcast, TWO_PER_S, scenarios.burst),
        followers=1_000,
        is_rare=True,
    ),
    Experiment(
        name="1k SSE",
        contenders=(BASELINE_SSE, BARE_ASGI_SSE, UNPACED_SSE, MOUNTED_SSE),
        scenarios=(connect(1_000), scenarios.broadcast, FIVE_PER_S),
        followers=1_000,
    ),
    Experiment(
        name="10k WebSocket",
        contenders=(BASELINE_WS, BARE_ASGI_WS, UNPACED_WS, PUSHER_WS),
        scenarios=(connect(10_000, in_flight=0), scenarios.broadcast),
        followers=10_000,
    ),
    Experiment(
        name="own topics",
        contenders=(BARE_SUBSCRIBER, UNPACED_WS),
        scenarios=(connect(1_000), scenarios.own_topics, partial(constant_rate, per_second=5_000.0)),
        followers=1_000,
        topics=1_000,
    ),
    Experiment(
        name="own topics, peers",
        contenders=(CHANNELS,),
        scenarios=(connect(1_000), scenarios.own_topics),
        followers=1_000,
        topics=1_000,
        is_rare=True,
    ),
    Experiment(
        name="one tab",
        contenders=(BASELINE_WS, BARE_SUBSCRIBER, UNPACED_WS),
        scenarios=(scenarios.connect_one, partial(constant_rate, per_second=20.0, times=3.0)),
        followers=1,
    ),
    Experiment(
        name="one task",
        contenders=(LIVE_TASK,),
        scenarios=(connect(1_000), TEN_PER_S, THOUSAND_PER_S, scenarios.burst),
        followers=1_000,
    ),
    Experiment(
        name="10k idle",
        contenders=(LIVE_WS,),
        scenarios=(connect(10_000), partial(scenarios.idle, idle_s=30.0)),
        followers=10_000,
        is_rare=True,
    ),
)


def experiments(words: Iterable[str]) -> list[Experiment]:
    """The experiments whose names contain one of the words; all if there are no words."""
    words = tuple(words)
    return [experiment for experiment in EXPERIMENTS if not words or any(word in experiment.name for word in words)]
