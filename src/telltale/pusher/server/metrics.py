"""What the live server's `/metrics` says about the stand-in. Needs the `server` extra.

Everything is counted from the start of the process. Apps are named by their id, which is public.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from telltale.pusher.server.server import PusherServer, pusher_server

FAN_OUT: Final = {
    "messages": "Messages to the subscribers of a channel.",
    "deliveries": "Messages written to a connection.",
    "dropped": "Messages that were dropped, because they came faster than they could be written.",
}

WEBHOOKS: Final = {
    "sent": "Webhook events that a target accepted, by app.",
    "retried": "Webhook requests that were sent again, by app.",
    "dropped": "Webhook events that were given up, by app.",
}


class PusherMetrics(Collector):
    """The metrics of the running event loop's server."""

    def collect(self) -> Iterable[Metric]:
        """Called by the registry, on the server's event loop."""
        server = pusher_server()
        connections = server.connection_count
        yield GaugeMetricFamily("telltale_pusher_connections", "Open connections of Pusher's clients.", connections)
        opened = server.counts["opened"]
        yield CounterMetricFamily("telltale_pusher_opened", "Connections of Pusher's clients opened.", opened)
        yield _closed(server)
        for name, meaning in FAN_OUT.items():
            yield CounterMetricFamily(f"telltale_pusher_{name}", meaning, server.channels.counts[name])
        yield from _webhooks(server)


def _closed(server: PusherServer) -> Metric:
    text = "Connections of Pusher's clients closed, by code; 0 if the client disconnected."
    closed = CounterMetricFamily("telltale_pusher_closed", text, labels=["code"])
    for name, count in server.counts.items():
        if name.startswith("closed "):
            code = name.removeprefix("closed ")
            closed.add_metric([code if code.isdecimal() else "0"], count)
    return closed


def _webhooks(server: PusherServer) -> Iterator[Metric]:
    for name, meaning in WEBHOOKS.items():
        metric = CounterMetricFamily(f"telltale_pusher_webhooks_{name}", meaning, labels=["app"])
        for app_id, count in getattr(server.hooks.counts, name).items():
            metric.add_metric([app_id], count)
        yield metric
