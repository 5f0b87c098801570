"""What the live server says of itself: `/healthz` for whoever starts and stops it, `/metrics` for Prometheus.

Metrics are answered at the status port alone, which is for the operator's network. That port has no TLS and takes
questions until the end, also while the clients are sent away. Knows the driver's counts. Used by `serve.py`.
"""

import asyncio
import socket
from collections.abc import Iterable, Iterator
from typing import Final

import uvicorn
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from telltale.core.wire import encode
from telltale.live.driver import Driver, driver
from telltale.transports.http import Receive, Scope, Send, answer

METRICS_KIND: Final = "text/plain; version=0.0.4"

COUNTED: Final = {
    "frames": "Frames that were built, each for one connection or for many.",
    "deliveries": "Frames that were written to a connection.",
    "envelopes": "Envelopes that the broker brought or a read of the database found.",
    "opened": "Connections that were opened.",
}


class Status:
    """An ASGI application, for the clients' port or for the operator's."""

    def __init__(self, one: Driver | None = None) -> None:
        """`one`: the driver to tell about in full; None: of the running loop's, only whether it is well."""
        self._driver = one

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Two addresses, and nothing else."""
        if scope["path"] == "/healthz":
            one = self._driver or driver()
            await answer(send, 503 if one.is_drained else 200, encode(health(one)))
        elif scope["path"] == "/metrics" and self._driver is not None:
            await answer(send, 200, metrics(self._driver), kind=METRICS_KIND)
        else:
            await answer(send, 404, '{"error":"This server has the live address alone."}')


async def answer_at(bound: socket.socket, one: Driver) -> asyncio.Server:
    """Tell of `one` at this socket until the returned server is closed."""
    config = uvicorn.Config(Status(one), lifespan="off", access_log=False, log_config=None)
    state = ServerState()  # Of its own: whoever asks how things are holds up nobody's end.
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: HttpToolsProtocol(config, state, {}), sock=bound)


def health(one: Driver) -> dict[str, object]:
    """Whether it takes connections, and how well it hears."""
    return {
        "state": "draining" if one.is_drained else "serving",
        "connections": one.connection_count,
        "broker_reaches": one.reach.value,
        "database": "works" if one.can_read else "out of order",
    }


def metrics(one: Driver) -> str:
    """In Prometheus's text format."""
    registry = CollectorRegistry()
    registry.register(_Counts(one))
    return generate_latest(registry).decode()


class _Counts(Collector):
    def __init__(self, one: Driver) -> None:
        self._driver = one

    def collect(self) -> Iterable[Metric]:
        """Called by the registry."""
        one = self._driver
        yield GaugeMetricFamily("telltale_connections", "Connections now.", value=one.connection_count)
        yield GaugeMetricFamily("telltale_topics", "Topics that somebody follows.", value=len(one.hub.topics))
        yield GaugeMetricFamily("telltale_draining", "1 while it sends its connections away.", value=one.is_drained)
        yield GaugeMetricFamily("telltale_database_up", "0 while it can't be read.", value=one.can_read)
        for name, meaning in COUNTED.items():
            yield CounterMetricFamily(f"telltale_{name}", meaning, value=one.counts[name])
        yield from self._closed()

    def _closed(self) -> Iterator[Metric]:
        closed = CounterMetricFamily("telltale_closed", "Connections that were closed, by reason.", labels=["reason"])
        for name, count in self._driver.counts.items():
            if name.startswith("closed "):
                closed.add_metric([name.removeprefix("closed ")], count)
        yield closed
