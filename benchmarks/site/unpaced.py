"""An app that takes the pace out of Telltale: each message goes to each follower at once, in a frame of its own.

Followers get ten frames a second at most, and more messages than that share frames; nobody else measured here does
so. To compare what one frame costs, the pace is 0 where the benchmark says so (docs/performance.md), and only there.
"""

from functools import partial

from django.apps import AppConfig


class Unpaced(AppConfig):
    """Installed where BENCH_UNPACED is set."""

    name = "benchmarks.site.unpaced"

    def ready(self) -> None:
        """Before anybody follows."""
        from telltale.core.connection import Terms
        from telltale.transports import sse, websocket
        from telltale.web import driver

        unpaced = partial(Terms, pace_s=0.0)
        driver.Terms = unpaced
        websocket.TERMS = unpaced()
        sse.TERMS = unpaced(credit=None)
