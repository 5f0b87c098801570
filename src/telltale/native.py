"""Real threads, also where gevent has replaced them: a greenlet would not run while a task computes.

Knows gevent's `get_original`, and nothing else. Used by the reporter and the saver, for the locks that
they share with tasks, and by brokers that have threads and sockets. Nothing that is held across a switch of
greenlets may be one of these locks, unless only a native thread waits for it.
"""

import _socket
import _thread
import os
import select
import socket
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Final, Protocol

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


def drop_hub() -> None:
    """At the end of a native thread: what it touched of gevent gave it a hub, whose descriptors nobody else closes.

    Not if gevent's sockets that it made live on elsewhere: closing them needs it.
    """
    if is_patched():
        sys.modules["gevent"].get_hub().destroy(destroy_loop=True)


def lock() -> threading.Lock:
    """A lock between threads."""
    made: threading.Lock = _original(_thread, "allocate_lock")()
    return made


def ident() -> int:
    """Which thread this is."""
    found: int = _original(_thread, "get_ident")()
    return found


def sleep(seconds: float) -> None:
    """Let this thread alone sleep."""
    _original(time, "sleep")(seconds)


class Event:
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


class OneShotEvent:
    """Opened once, by one thread; any number may wait for it, in vain for a time at most.

    Who waits blocks its whole thread, and all greenlets in it.
    """

    def __init__(self) -> None:
        self.is_open = False
        self._bolt = lock()
        self._bolt.acquire()

    def open(self) -> None:
        """Let all pass, from now on; harmless when repeated by the same thread."""
        if not self.is_open:
            self.is_open = True
            self._bolt.release()

    def wait(self, timeout_s: float = -1) -> bool:
        """Whether it is open, after so many seconds at most; without any, however long it takes."""
        if not self._bolt.acquire(timeout=timeout_s):
            return False
        self._bolt.release()
        return True


class SocketWaker:
    """Wakes one native thread that waits for sockets, too: `await_any([bell.fileno(), …])`."""

    def __init__(self) -> None:
        # The C module's own, where it has one: gevent's would belong to the greenlets of this thread.
        pair: Callable[[], tuple[socket.socket, socket.socket]] = getattr(_socket, "socketpair", socket.socketpair)
        self._hears, self._rings = pair()
        for end in (self._hears, self._rings):
            end.setblocking(False)
        self._is_rung = False

    def fileno(self) -> int:
        """What the thread waits for."""
        return self._hears.fileno()

    def ring(self) -> None:
        """From any thread or greenlet; never blocks, harmless when repeated or after `close`."""
        if self._is_rung:
            return
        self._is_rung = True
        with suppress(OSError):
            self._rings.send(b"!")

    def silence(self) -> None:
        """By the thread, before it looks for what it was woken for."""
        # Emptied first: whoever rings in between finds it rung, and what they rang for is about to be looked for.
        with suppress(OSError):
            self._hears.recv(64)
        self._is_rung = False

    def close(self) -> None:
        """Let go of both ends."""
        self._hears.close()
        self._rings.close()


def await_any(reading: Iterable[int], writing: Iterable[int] = (), *, timeout_s: float | None) -> bool:
    """Wait until one of these descriptors can be read from or written to, or has failed; False if none was in time."""
    timeout_s = None if timeout_s is None else max(0.0, timeout_s)
    if not hasattr(select, "poll"):
        return any(select.select(list(reading), list(writing), [], timeout_s))
    poll = _original(select, "poll")()
    for events, descriptors in ((select.POLLIN, reading), (select.POLLOUT, writing)):
        for descriptor in descriptors:
            poll.register(descriptor, events)
    # A part of a millisecond is rounded up: else whoever waits for a moment wakes just before it, again and again.
    return bool(poll.poll(None if timeout_s is None else int(timeout_s * 1_000) + (timeout_s > 0)))


class Forked(Protocol):
    """Something that a forked child inherits but does not own."""

    def forked(self) -> None:
        """In the child: drop inherited locks, threads and sockets, leaving the parent's files alone."""


_inherited: "weakref.WeakSet[Forked]" = weakref.WeakSet()


def call_after_fork(thing: Forked) -> None:
    """Call `thing.forked()` in each child forked from here on, for as long as `thing` lives."""
    _inherited.add(thing)


def _after_fork() -> None:
    for thing in list(_inherited):
        thing.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
