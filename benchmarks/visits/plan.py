"""Who is measured doing what, and what is promised of the figures: the table's rows, as data."""

from dataclasses import dataclass
from functools import partial
from typing import Final

from benchmarks.contenders import bare, peers, telltale
from benchmarks.rig.contender import Contender
from benchmarks.visits import scenarios
from benchmarks.visits.scenarios import Scenario, join

FLOOR_WS, FLOOR_SSE, BARE = bare.FloorWebSocket(), bare.FloorEventStream(), bare.BareSubscriber()
DIRECT_WS, DIRECT_SSE = peers.DirectWebSocket(), peers.DirectEventStream()
CHANNELS, SOCKETIO, EVENTSTREAM = peers.Channels(), peers.SocketIO(), peers.EventStream()
LIVE_WS, LIVE_SSE = telltale.LiveWebSocket(), telltale.LiveEventStream()
EVEN_WS, EVEN_SSE = telltale.UnpacedWebSocket(), telltale.UnpacedEventStream()
ASGI_WS, ASGI_SSE = telltale.UnpacedMountedWebSocket(), telltale.UnpacedMountedEventStream()
LIVE_TASK = telltale.LiveTask()

STEADY: Final = 5.0
"""Messages a second: well below the pace at which followers are served, so that no two share a frame."""
BRISK: Final = 10.0
"""The same, for those who have no pace."""
SCARCE: Final = 2.0
"""The same, for those who would not keep up with more."""
FLOOD: Final = 1_000.0
"""More than anybody wants to see."""

AT_STEADY: Final = partial(scenarios.steady, per_second=STEADY)
AT_BRISK: Final = partial(scenarios.steady, per_second=BRISK, label="brisk")


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """Some servers, one after the other, each started anew and taken through the same scenarios."""

    name: str
    contenders: tuple[Contender, ...]
    scenarios: tuple[Scenario, ...]
    followers: int
    """The most that there will be at once, but for those who warm it up."""
    topics: int = 1
    is_rare: bool = False
    """Takes part in two rounds of five: it takes long, and its figures are far from any bound."""

    def takes_part(self, number: int, count: int) -> bool:
        """Whether it does in round `number` (from 0) of `count`."""
        return not self.is_rare or number < max(1, count * 2 // 5)


VISITS: Final = (
    Visit(
        name="1k WebSocket",
        contenders=(FLOOR_WS, DIRECT_WS, EVEN_WS, ASGI_WS, LIVE_WS),
        scenarios=(join(1_000), scenarios.broadcast, AT_STEADY, AT_BRISK),
        followers=1_000,
    ),
    Visit(
        name="1k others",
        contenders=(CHANNELS, SOCKETIO, EVENTSTREAM),
        scenarios=(join(1_000), scenarios.broadcast, partial(scenarios.steady, per_second=SCARCE), scenarios.burst),
        followers=1_000,
        is_rare=True,
    ),
    Visit(
        name="1k SSE",
        contenders=(FLOOR_SSE, DIRECT_SSE, EVEN_SSE, ASGI_SSE),
        scenarios=(join(1_000), scenarios.broadcast, AT_STEADY),
        followers=1_000,
    ),
    Visit(
        name="10k WebSocket",
        contenders=(FLOOR_WS, DIRECT_WS, EVEN_WS),
        scenarios=(join(10_000, flight=0), scenarios.broadcast),
        followers=10_000,
    ),
    Visit(
        name="own topics",
        contenders=(BARE, EVEN_WS),
        scenarios=(join(1_000), scenarios.own_topics, partial(scenarios.steady, per_second=5_000.0)),
        followers=1_000,
        topics=1_000,
    ),
    Visit(
        name="own topics, others",
        contenders=(CHANNELS,),
        scenarios=(join(1_000), scenarios.own_topics),
        followers=1_000,
        topics=1_000,
        is_rare=True,
    ),
    Visit(
        name="one tab",
        contenders=(FLOOR_WS, BARE, EVEN_WS),
        scenarios=(scenarios.alone, partial(scenarios.steady, per_second=20.0, times=3.0)),
        followers=1,
    ),
    Visit(
        name="one task",
        contenders=(LIVE_TASK,),
        scenarios=(
            join(1_000),
            partial(scenarios.steady, per_second=BRISK, label="slow"),
            partial(scenarios.steady, per_second=FLOOD, label="fast"),
            scenarios.burst,
        ),
        followers=1_000,
    ),
    Visit(
        name="10k idle",
        contenders=(LIVE_WS,),
        scenarios=(join(10_000), partial(scenarios.idle, seconds=30.0)),
        followers=10_000,
        is_rare=True,
    ),
)
