"""Real threads, also where gevent has replaced them: a greenlet would not run while a task computes.

Knows gevent's `get_original`, and nothing else. Used by the reporter and the saver, and for the locks that
they share with tasks. Nothing that is held across a switch of greenlets may be one of these locks, unless
only a native thread waits for it.
"""

import _thread
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Final

POLL_S: Final = 0.05
"""How often a native thread looks for a signal under gevent, whose own events are not for other threads."""


def is_patched() -> bool:
    """Whether `threading.Thread` makes greenlets here."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


def _original(module: Any, name: str) -> Any:
    if not is_patched():
        return getattr(module, name)
    return sys.modules["gevent.monkey"].get_original(module.__name__, name)


def start(target: Callable[[], None], name: str) -> None:
    """Start a thread that does not keep the process from ending."""
    if is_patched():
        _original(_thread, "start_new_thread")(target, ())
    else:
        threading.Thread(target=target, name=name, daemon=True).start()


def lock() -> threading.Lock:
    """A lock between threads."""
    made: threading.Lock = _original(_thread, "allocate_lock")()
    return made


def sleep(seconds: float) -> None:
    """Let this thread alone sleep."""
    _original(time, "sleep")(seconds)


class Signal:
    """What `threading.Event` is, for a native thread to wait for."""

    def __init__(self) -> None:
        self._is_set = False
        self._event = None if is_patched() else threading.Event()

    def set(self) -> None:
        """From any thread or greenlet."""
        self._is_set = True
        if self._event is not None:
            self._event.set()

    def clear(self) -> None:
        """By the thread that waits."""
        self._is_set = False
        if self._event is not None:
            self._event.clear()

    def wait(self) -> None:
        """Until it is set."""
        if self._event is not None:
            self._event.wait()
        while not self._is_set:
            sleep(POLL_S)
