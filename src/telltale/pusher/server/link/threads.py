"""Starts the threads of the link to the other processes, which its sender and its listener join when they close."""

import threading
import time
from collections.abc import Callable

from telltale.core.outage import Outage


def started_thread(target: Callable[[], None], name: str, outage: Outage) -> threading.Thread | None:
    """Start a thread that does not keep the process from ending.

    None if the system has none to give: the outage begins, and it can be called again later.
    """
    thread = threading.Thread(target=target, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        outage.begin(error, now=time.monotonic())
        return None
    return thread
