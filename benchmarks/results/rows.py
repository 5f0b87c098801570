"""The rows of the table: the figure of Telltale, the figure of a peer, and the target."""

from dataclasses import dataclass
from typing import Final, Literal

from benchmarks.experiments import plan
from benchmarks.rig.contender import Contender


@dataclass(frozen=True, slots=True)
class Row:
    """A comparison, with a target or without."""

    title: str
    unit: str
    """µs, ms, s, KiB, %, or empty for a count. Figures in % are stored as shares of 1."""
    experiment: str
    metric: str
    ours: Contender
    peer: Contender | None = None
    peer_experiment: str | None = None
    """None: the same experiment."""
    peer_metric: str | None = None
    """None: the same metric."""
    by: Literal["ratio", "excess", "ours"] = "ratio"
    """The figure that is judged: ours divided by the peer's, ours minus the peer's, or ours alone."""
    at_most: float | None = None
    at_least: float | None = None

    @property
    def target(self) -> str:
        """The target as text; – if there is none."""
        if self.at_most is None and self.at_least is None:
            return "–"
        sign, bound = ("≤", self.at_most) if self.at_most is not None else ("≥", self.at_least)
        assert bound is not None
        if self.by == "ratio":
            return f"{sign} {bound:.3g}×"
        return f"{sign} {'+' * (self.by == 'excess')}{with_unit(bound, self.unit)}"

    def is_met(self, figure: float) -> bool | None:
        """Whether the figure meets the target; None if there is no target."""
        if self.at_most is not None:
            return figure <= self.at_most
        return None if self.at_least is None else figure >= self.at_least


def with_unit(figure: float, unit: str) -> str:
    """A figure with its unit, in three digits."""
    if unit == "%":
        return f"{figure:.3g} %" if figure == 0 else f"{100 * figure:.3g} %"
    return f"{figure:,.0f} {unit}".strip() if figure >= 1_000 else f"{figure:.3g} {unit}".strip()


LIVE, TASK, PUSHER = plan.LIVE_WS, plan.LIVE_TASK, plan.PUSHER_WS
UNPACED, UNPACED_SSE, MOUNTED, MOUNTED_SSE = plan.UNPACED_WS, plan.UNPACED_SSE, plan.MOUNTED_WS, plan.MOUNTED_SSE
BASELINE, BASELINE_SSE, SUBSCRIBER = plan.BASELINE_WS, plan.BASELINE_SSE, plan.BARE_SUBSCRIBER
ASGI, ASGI_SSE, CHANNELS = plan.BARE_ASGI_WS, plan.BARE_ASGI_SSE, plan.CHANNELS

# Names of experiments.
WS_1K, SSE_1K, WS_10K, PEERS_1K = "1k WebSocket", "1k SSE", "10k WebSocket", "1k peers"
OWN, OWN_PEERS, ONE_TAB, ONE_TASK, IDLE_10K = "own topics", "own topics, peers", "one tab", "one task", "10k idle"

# Names of metrics.
CPU, OWN_CPU, KIB = "us_per_frame", "own_us", "kib_per_follower"
RATE_CPU, RATE_OWN_CPU = "constant_rate_us_per_frame", "constant_rate_us_per_message"
P50, P99 = "constant_rate_p50_ms", "constant_rate_p99_ms"
P50_AT_10, P99_AT_10 = "at_10_per_s_p50_ms", "at_10_per_s_p99_ms"
CORE_AT_10, CORE_AT_1000 = "at_10_per_s_core_share", "at_1000_per_s_core_share"
SAW_LAST, HANDSHAKE, ALL_CONNECTED, IDLE_CORE = (
    "burst_saw_last_share",
    "handshake_us",
    "all_connected_s",
    "idle_core_share",
)

PUSHERS: Final = "Pusher's protocol"
"""Begins the titles of rows that the page shows in a table of their own."""

ROWS: Final = (
    # All followers follow one topic.
    Row("1,000 WebSockets: CPU per frame", "µs", WS_1K, CPU, UNPACED, BASELINE, at_most=1.25),
    Row("10,000 WebSockets: CPU per frame", "µs", WS_10K, CPU, UNPACED, BASELINE, at_most=1.25),
    Row("1,000 event streams: CPU per frame", "µs", SSE_1K, CPU, UNPACED_SSE, BASELINE_SSE, at_most=1.25),
    Row("1,000 WebSockets, 5 messages/s: CPU per frame", "µs", WS_1K, RATE_CPU, LIVE, BASELINE, at_most=1.25),
    Row("mounted in uvicorn, WebSocket: CPU per frame", "µs", WS_1K, CPU, MOUNTED, ASGI, at_most=1.2),
    Row("mounted in uvicorn, SSE: CPU per frame", "µs", SSE_1K, CPU, MOUNTED_SSE, ASGI_SSE, at_most=1.2),
    Row("1,000 WebSockets: CPU per frame", "µs", WS_1K, CPU, UNPACED, ASGI),
    Row("1,000 WebSockets: CPU per frame", "µs", WS_1K, CPU, UNPACED, CHANNELS, PEERS_1K),
    Row("1,000 WebSockets: CPU per frame", "µs", WS_1K, CPU, UNPACED, plan.SOCKETIO, PEERS_1K),
    Row("1,000 event streams: CPU per frame", "µs", SSE_1K, CPU, UNPACED_SSE, plan.EVENTSTREAM, PEERS_1K),
    # The same with the protocol of Pusher Channels.
    Row(f"{PUSHERS}, 1,000 WebSockets: CPU per frame", "µs", WS_1K, CPU, PUSHER, UNPACED, at_most=1.3),
    Row(f"{PUSHERS}, 10,000 WebSockets: CPU per frame", "µs", WS_10K, CPU, PUSHER, UNPACED, at_most=1.3),
    # Each follower has its own topic.
    Row("own topics, with Redis: CPU per message", "µs", OWN, OWN_CPU, UNPACED, SUBSCRIBER, at_most=1.5),
    Row("own topics, 5,000 messages/s: CPU per message", "µs", OWN, RATE_OWN_CPU, UNPACED, SUBSCRIBER, at_most=1.5),
    Row("own topics, with Redis: CPU per message", "µs", OWN, OWN_CPU, UNPACED, CHANNELS, OWN_PEERS),
    # Latency.
    Row("10 messages/s to 1,000: p50", "ms", WS_1K, P50_AT_10, UNPACED, BASELINE),
    Row("10 messages/s to 1,000: p99", "ms", WS_1K, P99_AT_10, UNPACED, BASELINE, at_most=1.5),
    Row("5 messages/s to 1,000: p50", "ms", WS_1K, P50, LIVE, BASELINE),
    Row("5 messages/s to 1,000: p99", "ms", WS_1K, P99, LIVE, BASELINE, at_most=1.5),
    Row("one tab, through Redis: p50", "ms", ONE_TAB, P50, UNPACED, BASELINE, at_most=1.5),
    Row("one tab, through Redis: p50", "ms", ONE_TAB, P50, UNPACED, SUBSCRIBER),
    Row("one tab, through Redis: p99", "ms", ONE_TAB, P99, UNPACED, SUBSCRIBER),
    # More updates than a person can read.
    Row(
        "1,000 updates/s instead of 10: share of a core",
        "%",
        ONE_TASK,
        CORE_AT_1000,
        TASK,
        TASK,
        None,
        CORE_AT_10,
        at_most=1.25,
    ),
    Row("1,000 updates/s: share of a core", "%", ONE_TASK, CORE_AT_1000, TASK, BASELINE, WS_1K, CORE_AT_10),
    Row("burst of 300: saw the last", "%", ONE_TASK, SAW_LAST, TASK, CHANNELS, PEERS_1K, by="ours", at_least=1.0),
    # Quiet connections.
    Row("memory of a WebSocket", "KiB", WS_1K, KIB, LIVE, ASGI, by="ours", at_most=6.0),
    Row("memory of an event stream", "KiB", SSE_1K, KIB, UNPACED_SSE, ASGI_SSE, by="ours", at_most=4.0),
    Row("mounted in uvicorn, WebSocket: memory", "KiB", WS_1K, KIB, MOUNTED, ASGI, by="excess", at_most=2.0),
    Row("mounted in uvicorn, SSE: memory", "KiB", SSE_1K, KIB, MOUNTED_SSE, ASGI_SSE, by="excess", at_most=2.0),
    Row("memory of a WebSocket", "KiB", WS_1K, KIB, LIVE, CHANNELS, PEERS_1K),
    Row(f"{PUSHERS}: memory of a WebSocket", "KiB", WS_1K, KIB, PUSHER, LIVE, by="ours", at_most=6.0),
    Row("10,000 quiet connections: share of a core", "%", IDLE_10K, IDLE_CORE, LIVE, by="ours", at_most=0.01),
    # Connecting.
    Row("handshake: CPU", "µs", WS_1K, HANDSHAKE, LIVE, ASGI, at_most=1.25),
    Row("handshake: CPU", "µs", WS_1K, HANDSHAKE, LIVE, CHANNELS, PEERS_1K),
    Row(f"{PUSHERS}, handshake and subscription: CPU", "µs", WS_1K, HANDSHAKE, PUSHER, LIVE),
    Row(
        "10,000 connect at once: time until all are connected",
        "s",
        WS_10K,
        ALL_CONNECTED,
        UNPACED,
        ASGI,
        by="ours",
        at_most=4.0,
    ),
    Row("10,000 connect at once: not connected", "", WS_10K, "not_connected", UNPACED, ASGI, by="ours", at_most=0),
)
