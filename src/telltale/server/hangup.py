"""SIGHUP, which a terminal sends when it is closed, and some supervisors for a reload: it ends a server by a drain."""

import signal
from collections.abc import Callable
from types import FrameType


def on_hangup(handle: Callable[[int, FrameType | None], None]) -> None:
    """Call `handle` at SIGHUP, whose default is to kill at once. If it is ignored, as under `nohup`, it stays so."""
    number = getattr(signal, "SIGHUP", None)
    if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
        signal.signal(number, handle)
