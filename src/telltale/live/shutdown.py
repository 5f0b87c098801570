"""Draining when the process is told to stop.

Some servers wait for open streams before they send `lifespan.shutdown`, and some know no lifespan, so signals are
handled too: all drains that were registered begin, then the server's own handler runs.
"""

import asyncio
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

SIGNAL_DELAY_S: Final = 0.5
"""Where a server knows no lifespan, its own signal handler, which cuts all lines, runs this much later."""

Drain = Callable[[], None]
"""Begins to close all connections; called in a signal handler."""

_drains: dict[Drain, None] = {}


def drain_on_signals(drain: Drain, *, delay_s: float = 0.0) -> None:
    """Call `drain` when the process is told to stop; the server's own handler then runs, `delay_s` later."""
    _drains[drain] = None
    if threading.current_thread() is not threading.main_thread():
        return
    for number in (signal.SIGTERM, signal.SIGINT):
        handler = signal.getsignal(number)
        if callable(handler) and not isinstance(handler, _DrainingHandler):
            signal.signal(number, _DrainingHandler(handler, asyncio.get_running_loop(), delay_s))


class _DrainingHandler:
    """A signal handler that drains and then calls the previous handler."""

    def __init__(
        self, previous: Callable[[int, FrameType | None], Any], loop: asyncio.AbstractEventLoop, delay_s: float
    ) -> None:
        self._previous, self._loop, self._delay_s = previous, loop, delay_s

    def __call__(self, number: int, frame: FrameType | None) -> None:
        for drain in _drains:
            drain()
        if self._delay_s and self._loop.is_running():
            self._loop.call_soon_threadsafe(self._loop.call_later, self._delay_s, self._previous, number, None)
        else:
            self._previous(number, frame)
