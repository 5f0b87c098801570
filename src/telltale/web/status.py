"""What the live server says of itself: `/healthz` for whoever starts and stops it, `/metrics` for Prometheus.

Metrics are answered at the status port alone, which is for the operator's network. Knows the driver's counts.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from telltale.core.wire import encode
from telltale.transports.base import Receive, Scope, Send, answer
from telltale.web.driver import Driver, driver

METRICS_KIND: Final = "text/plain; version=0.0.4"

COUNTED: Final = {
    "frames": "Frames that were built, each for one connection or for many.",
    "deliveries": "Frames that were written to a connection.",
    "envelopes": "Envelopes that the broker brought or a read of the database found.",
    "opened": "Connections that were opened.",
}


class Status:
    """An ASGI application. `status_port`: where metrics are answered; None: nowhere."""

    def __init__(self, status_port: int | None) -> None:
        self._status_port = status_port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Two addresses, and nothing else."""
        port = scope["server"][1] if scope.get("server") else None
        if scope["path"] == "/healthz":
            await answer(send, 503 if driver().is_drained else 200, encode(health(driver())))
        elif scope["path"] == "/metrics" and port is not None and port == self._status_port:
            await answer(send, 200, metrics(driver()), kind=METRICS_KIND)
        else:
            await answer(send, 404, '{"error":"This server has the live address alone."}')


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
