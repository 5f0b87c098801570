"""An app that takes the pace out of Telltale: each message goes to each follower at once, in a frame of its own.

Followers get ten frames a second at most, and more messages than that share frames; nobody else measured here does
so. To compare what one frame costs, the pace is 0 where the benchmark says so (docs/performance.md), and only there.
"""

from dataclasses import replace
from functools import partial

from django.apps import AppConfig


class Unpaced(AppConfig):
    """Installed where BENCH_UNPACED is set."""

    name = "benchmarks.site.unpaced"

    def ready(self) -> None:
        """Before anybody follows."""
        from telltale.core.policy import ConnectionPolicy
        from telltale.live import driver
        from telltale.server import http_protocol, websocket_protocol
        from telltale.transports import sse, websocket

        driver.ConnectionPolicy = partial(ConnectionPolicy, pace_s=0.0)
        for transport in (http_protocol, websocket_protocol, sse, websocket):
            transport.POLICY = replace(transport.POLICY, pace_s=0.0)
