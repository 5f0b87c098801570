"""The rows of the table: which figure of ours, beside whose, and what is promised of it."""

from dataclasses import dataclass
from typing import Final, Literal

from benchmarks.rig.contender import Contender
from benchmarks.visits import plan


@dataclass(frozen=True, slots=True)
class Row:
    """One promise; or one comparison, where nothing is promised."""

    title: str
    unit: str
    """µs, ms, s, KiB, %, or nothing for a count. Figures in % are kept as shares of 1."""
    visit: str
    metric: str
    ours: Contender
    peer: Contender | None = None
    peer_visit: str | None = None
    """None: the same."""
    peer_metric: str | None = None
    """None: the same."""
    by: Literal["ratio", "excess", "ours"] = "ratio"
    """What is judged: ours divided by the peer's, ours less the peer's, or ours alone."""
    at_most: float | None = None
    at_least: float | None = None

    @property
    def target(self) -> str:
        """The promise in a few characters."""
        if self.at_most is None and self.at_least is None:
            return "–"
        sign, bound = ("≤", self.at_most) if self.at_most is not None else ("≥", self.at_least)
        assert bound is not None
        if self.by == "ratio":
            return f"{sign} {bound:.3g}×"
        return f"{sign} {'+' * (self.by == 'excess')}{shown(bound, self.unit)}"

    def is_met(self, judged: float) -> bool | None:
        """Whether the promise holds of this figure; None where there is none."""
        if self.at_most is not None:
            return judged <= self.at_most
        return None if self.at_least is None else judged >= self.at_least


def shown(figure: float, unit: str) -> str:
    """A figure with its unit, in three digits."""
    if unit == "%":
        return f"{figure:.3g} %" if figure == 0 else f"{100 * figure:.3g} %"
    return f"{figure:,.0f} {unit}".strip() if figure >= 1_000 else f"{figure:.3g} {unit}".strip()


LIVE, EVEN, EVEN_SSE, ASGI, ASGI_SSE = plan.LIVE_WS, plan.EVEN_WS, plan.EVEN_SSE, plan.ASGI_WS, plan.ASGI_SSE
FLOOR, FLOOR_SSE, DIRECT, DIRECT_SSE = plan.FLOOR_WS, plan.FLOOR_SSE, plan.DIRECT_WS, plan.DIRECT_SSE
BARE, CHANNELS, TASK = plan.BARE, plan.CHANNELS, plan.LIVE_TASK

K1, K1_SSE, K10, OTHERS = "1k WebSocket", "1k SSE", "10k WebSocket", "1k others"
OWN, OWN_OTHERS, TAB, ONE_TASK, QUIET = "own topics", "own topics, others", "one tab", "one task", "10k idle"

CPU, OWN_CPU, KIB = "us_per_frame", "own_us", "kib_per_follower"
PACED_CPU, P50, P99 = "steady_us_per_frame", "steady_p50_ms", "steady_p99_ms"
BRISK_P50, BRISK_P99, BRISK_SHARE = "brisk_p50_ms", "brisk_p99_ms", "brisk_core_share"
FAST, SLOW, SAW_LAST = "fast_core_share", "slow_core_share", "burst_saw_last_share"

ROWS: Final = (
    # Everybody follows one topic.
    Row("1,000 WebSockets: CPU a frame", "µs", K1, CPU, EVEN, FLOOR, at_most=1.25),
    Row("10,000 WebSockets: CPU a frame", "µs", K10, CPU, EVEN, FLOOR, at_most=1.25),
    Row("1,000 event streams: CPU a frame", "µs", K1_SSE, CPU, EVEN_SSE, FLOOR_SSE, at_most=1.25),
    Row("1,000 WebSockets at 5 a second: CPU a frame", "µs", K1, PACED_CPU, LIVE, FLOOR, at_most=1.25),
    Row("in the site's uvicorn, WebSocket: CPU a frame", "µs", K1, CPU, ASGI, DIRECT, at_most=1.2),
    Row("in the site's uvicorn, SSE: CPU a frame", "µs", K1_SSE, CPU, ASGI_SSE, DIRECT_SSE, at_most=1.2),
    Row("1,000 WebSockets: CPU a frame", "µs", K1, CPU, EVEN, DIRECT),
    Row("1,000 WebSockets: CPU a frame", "µs", K1, CPU, EVEN, CHANNELS, OTHERS),
    Row("1,000 WebSockets: CPU a frame", "µs", K1, CPU, EVEN, plan.SOCKETIO, OTHERS),
    Row("1,000 event streams: CPU a frame", "µs", K1_SSE, CPU, EVEN_SSE, plan.EVENTSTREAM, OTHERS),
    # Everybody follows their own.
    Row("own topic each, with Redis: CPU a message", "µs", OWN, OWN_CPU, EVEN, BARE, at_most=1.5),
    Row("the same at 5,000 a second", "µs", OWN, "steady_us_per_message", EVEN, BARE, at_most=1.5),
    Row("own topic each, with Redis: CPU a message", "µs", OWN, OWN_CPU, EVEN, CHANNELS, OWN_OTHERS),
    # How late it comes.
    Row("10 a second to 1,000: p50", "ms", K1, BRISK_P50, EVEN, FLOOR),
    Row("10 a second to 1,000: p99", "ms", K1, BRISK_P99, EVEN, FLOOR, at_most=1.5),
    Row("5 a second to 1,000: p50", "ms", K1, P50, LIVE, FLOOR),
    Row("5 a second to 1,000: p99", "ms", K1, P99, LIVE, FLOOR, at_most=1.5),
    Row("one tab, through Redis: p50", "ms", TAB, P50, EVEN, FLOOR, at_most=1.5),
    Row("one tab, through Redis: p50", "ms", TAB, P50, EVEN, BARE),
    Row("one tab, through Redis: p99", "ms", TAB, P99, EVEN, BARE),
    # More is said than anybody can look at.
    Row("1,000 updates a second, not 10: of a core", "%", ONE_TASK, FAST, TASK, TASK, peer_metric=SLOW, at_most=1.25),
    Row("1,000 updates a second: of a core", "%", ONE_TASK, FAST, TASK, FLOOR, K1, BRISK_SHARE),
    Row("burst of 300: saw the last", "%", ONE_TASK, SAW_LAST, TASK, CHANNELS, OTHERS, by="ours", at_least=1.0),
    # Nothing is said.
    Row("memory of a WebSocket", "KiB", K1, KIB, LIVE, DIRECT, by="ours", at_most=6.0),
    Row("memory of an event stream", "KiB", K1_SSE, KIB, EVEN_SSE, DIRECT_SSE, by="ours", at_most=4.0),
    Row("in the site's uvicorn, WebSocket: memory", "KiB", K1, KIB, ASGI, DIRECT, by="excess", at_most=2.0),
    Row("in the site's uvicorn, SSE: memory", "KiB", K1_SSE, KIB, ASGI_SSE, DIRECT_SSE, by="excess", at_most=2.0),
    Row("memory of a WebSocket", "KiB", K1, KIB, LIVE, CHANNELS, OTHERS),
    Row("10,000 quiet connections: of a core", "%", QUIET, "idle_core_share", LIVE, by="ours", at_most=0.01),
    # Everybody comes back.
    Row("handshake: CPU", "µs", K1, "handshake_us", LIVE, DIRECT, at_most=1.25),
    Row("handshake: CPU", "µs", K1, "handshake_us", LIVE, CHANNELS, OTHERS),
    Row("10,000 at once: all are back after", "s", K10, "all_joined_s", EVEN, DIRECT, by="ours", at_most=4.0),
    Row("10,000 at once: turned away", "", K10, "turned_away", EVEN, DIRECT, by="ours", at_most=0),
)
