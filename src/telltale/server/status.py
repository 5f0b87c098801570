"""The status of the live server: `/healthz` for its supervisor, `/metrics` for Prometheus.

Metrics are served on the status port alone, which is for the operator's network. That port has no TLS and answers
until the process exits, also while clients are drained. Knows the driver's counts. Used by `serve.py`.
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

from telltale.brokers.signing import rejected
from telltale.core.wire import encode
from telltale.live.access import is_known_host
from telltale.live.driver import Driver, driver
from telltale.live.incoming import unusable
from telltale.metrics.process import BROKER
from telltale.metrics.prometheus import families
from telltale.server import routes
from telltale.transports.http import LiveRequest, Receive, Scope, Send, send_response

METRICS_TYPE: Final = "text/plain; version=0.0.4"

COUNTERS: Final = {
    "frames": "Frames made, each for one connection or for many.",
    "deliveries": "Frames written to a connection.",
    "envelopes": "Envelopes received from the broker or read from the database.",
    "corrections": "Snapshots from the broker that the database denied.",
    "opened": "Connections opened.",
}


class StatusApplication:
    """An ASGI application for the clients' port (`/healthz`) or the status port (`/healthz` and `/metrics`)."""

    def __init__(self, live_driver: Driver | None = None) -> None:
        """`live_driver`: the driver for the status port; None: the clients' port, and the running loop's driver."""
        self._driver = live_driver

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["path"] == "/healthz":
            live_driver = self._driver or driver()
            content = status_json(live_driver)
            if self._driver is None and not is_known_host(LiveRequest.from_scope(scope)):
                # A health check may come by the server's address. Others learn no more than that it serves.
                content = {"state": content["state"]}
            await send_response(send, 503 if live_driver.is_draining else 200, encode(content))
        elif scope["path"] == "/metrics" and self._driver is not None:
            await send_response(send, 200, metrics_text(self._driver), content_type=METRICS_TYPE)
        else:
            await send_response(send, 404, '{"error":"This server serves the live address only."}')


async def start_status_server(bound: socket.socket, live_driver: Driver) -> asyncio.Server:
    """Serve the status of `live_driver` on this socket until the returned server is closed."""
    config = uvicorn.Config(StatusApplication(live_driver), lifespan="off", access_log=False, log_config=None)
    state = ServerState()  # A state of its own: an open status request must not delay the live server's shutdown.
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: HttpToolsProtocol(config, state, {}), sock=bound)


def status_json(live_driver: Driver) -> dict[str, object]:
    """Return the content of `/healthz`: whether connections are accepted, and which sources of updates work."""
    return {
        "state": "draining" if live_driver.is_draining else "serving",
        "connections": live_driver.connection_count,
        "broker_reaches": live_driver.reach.value,
        "broker": "out of order" if live_driver.is_broker_down else "works",
        "database": "works" if live_driver.can_read else "out of order",
    }


def metrics_text(live_driver: Driver) -> str:
    """Return the metrics in Prometheus's text format."""
    registry = CollectorRegistry()
    for collector in (_DriverMetrics(live_driver), *routes.collectors()):
        registry.register(collector)
    return generate_latest(registry).decode()


class _DriverMetrics(Collector):
    def __init__(self, live_driver: Driver) -> None:
        self._driver = live_driver

    def collect(self) -> Iterable[Metric]:
        """Called by the registry."""
        counted = self._driver
        yield GaugeMetricFamily("telltale_connections", "Open connections.", value=counted.connection_count)
        yield GaugeMetricFamily("telltale_topics", "Followed topics.", value=len(counted.hub.topics))
        yield GaugeMetricFamily("telltale_draining", "1 while connections are drained.", value=counted.is_draining)
        yield GaugeMetricFamily("telltale_database_up", "0 while the database can't be read.", value=counted.can_read)
        for name, meaning in COUNTERS.items():
            yield CounterMetricFamily(f"telltale_{name}", meaning, value=counted.counts[name])
        yield from self._closed()
        yield from self._broker()

    def _broker(self) -> Iterator[Metric]:
        is_up = not self._driver.is_broker_down
        yield GaugeMetricFamily("telltale_broker_up", "0 while the broker's messages don't arrive.", value=is_up)
        yield from families(BROKER)
        refused = CounterMetricFamily("telltale_broker_refused", "Messages that were skipped.", labels=["reason"])
        refused.add_metric(["signature"], rejected.total)
        refused.add_metric(["malformed"], unusable.total)
        yield refused

    def _closed(self) -> Iterator[Metric]:
        closed = CounterMetricFamily("telltale_closed", "Connections closed, by reason.", labels=["reason"])
        for name, count in self._driver.counts.items():
            if name.startswith("closed "):
                closed.add_metric([name.removeprefix("closed ")], count)
        yield closed
