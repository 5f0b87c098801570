"""A Django app that turns off Telltale's pacing: each message goes to each follower at once, in a frame of its own.

By default a follower gets at most ten frames a second, and further messages share frames; no peer does that. Where
the benchmark compares the cost of one frame, it sets the pace to 0 (see docs/performance.md).
"""

from dataclasses import replace
from functools import partial

from django.apps import AppConfig


class Unpaced(AppConfig):
    """Installed if BENCH_UNPACED is set."""

    name = "benchmarks.contenders.telltale_site.unpaced"

    def ready(self) -> None:
        """Set the pace before the first client connects."""
        from telltale.core.policy import ConnectionPolicy
        from telltale.live import driver
        from telltale.server import http_protocol, websocket_protocol
        from telltale.transports import sse, websocket

        driver.ConnectionPolicy = partial(ConnectionPolicy, pace_s=0.0)
        for transport in (http_protocol, websocket_protocol, sse, websocket):
            transport.POLICY = replace(transport.POLICY, pace_s=0.0)
