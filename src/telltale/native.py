"""Real threads, locks and waiting, also where gevent has replaced them.

A greenlet would not run while a task computes, so the reporter, the saver and the brokers' threads are native ones.
The locks here are shared with tasks. Do not hold one across a switch of greenlets, unless only a native thread
waits for it. Of gevent this module uses `get_original` and `get_hub`, and imports nothing.
"""

import _socket
import _thread
import logging
import os
import select
import socket
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Final, Generic, Protocol, TypeVar

T = TypeVar("T")

logger = logging.getLogger(__name__)

POLL_S: Final = 0.05
"""How often a native thread checks an `Event` under gevent, whose own events don't work between threads."""


def is_patched() -> bool:
    """Whether `threading.Thread` makes greenlets here."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


def _original(module: Any, name: str) -> Any:
    if not is_patched():
        return getattr(module, name)
    return sys.modules["gevent.monkey"].get_original(module.__name__, name)


def start_thread(target: Callable[[], None], name: str) -> None:
    """Start a thread that does not keep the process from ending."""
    if is_patched():
        _original(_thread, "start_new_thread")(target, ())
    else:
        threading.Thread(target=target, name=name, daemon=True).start()


class LazyThread:
    """A thread that runs `target` for as long as the process lives, from the first `start` on."""

    def __init__(self, target: Callable[[], None], name: str) -> None:
        self._target, self._name = target, name
        self._lock = lock()
        self._is_started = self._has_failed = False

    def start(self) -> bool:
        """Start the thread, unless it runs; never raises.

        False if the system has no thread to give, such as at a limit of processes. Call it again later.
        """
        if self._has_started():
            return True
        with self._lock:
            if self._has_started():
                return True
            try:
                start_thread(self._target, self._name)
            except RuntimeError as error:
                if not self._has_failed:
                    logger.warning("The thread %s can't be started now (%s); it is tried again.", self._name, error)
                self._has_failed = True
                return False
            self._is_started = True
            return True

    def _has_started(self) -> bool:
        return self._is_started


def destroy_gevent_hub() -> None:
    """Close the gevent hub of this native thread; call it last.

    A thread that uses anything of gevent gets a hub, and nothing else closes the hub's descriptors. Don't call it
    while gevent sockets that this thread made are in use elsewhere: closing them needs the hub.
    """
    if is_patched():
        sys.modules["gevent"].get_hub().destroy(destroy_loop=True)


def lock() -> threading.Lock:
    """A new lock between native threads."""
    new_lock: threading.Lock = _original(_thread, "allocate_lock")()
    return new_lock


def reentrant_lock() -> Any:
    """A new lock between native threads that its holder may take again; `_is_owned()`: whether this thread holds it."""
    return _original(_thread, "RLock")()


def get_ident() -> int:
    """The number of the native thread that calls this."""
    number: int = _original(_thread, "get_ident")()
    return number


def sleep(seconds: float) -> None:
    """Let this native thread sleep, with all its greenlets."""
    _original(time, "sleep")(seconds)


class Event:
    """A `threading.Event` that a native thread can wait for."""

    def __init__(self) -> None:
        self._is_set = False
        self._event = None if is_patched() else threading.Event()

    def set(self) -> None:
        """Wake the waiting thread; call it from any thread or greenlet."""
        self._is_set = True
        if self._event is not None:
            self._event.set()

    def clear(self) -> None:
        """Make the next `wait` block again; only the waiting thread calls this."""
        self._is_set = False
        if self._event is not None:
            self._event.clear()

    def wait(self, timeout_s: float | None = None) -> None:
        """Block until the event is set, for at most `timeout_s` seconds if it is given."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        if self._event is not None:
            self._event.wait(timeout_s)
        while not self._is_set and (deadline is None or time.monotonic() < deadline):
            sleep(POLL_S)


class OneShotEvent:
    """An event that is set once and never cleared; several threads may wait, with a time limit.

    Waiting blocks the whole thread, with all its greenlets.
    """

    def __init__(self) -> None:
        self._is_set = False
        self._unset = lock()  # Held until the event is set.
        self._unset.acquire()

    def set(self) -> None:
        """Wake all waiting threads; harmless when repeated by the same thread."""
        if not self._is_set:
            self._is_set = True
            self._unset.release()

    def is_set(self) -> bool:
        """Whether `set` was called."""
        return self._is_set

    def wait(self, timeout_s: float = -1) -> bool:
        """Block until the event is set, for at most `timeout_s` (-1: without limit); return whether it is set."""
        if not self._unset.acquire(timeout=timeout_s):
            return False
        self._unset.release()
        return True


class SocketWaker:
    """Wakes a native thread that waits for sockets: `wait_for_io([waker.fileno(), …])`."""

    def __init__(self) -> None:
        # The C module's `socketpair` where there is one: gevent's sockets would belong to this thread's greenlets.
        pair: Callable[[], tuple[socket.socket, socket.socket]] = getattr(_socket, "socketpair", socket.socketpair)
        self._receiver, self._sender = pair()
        for end in (self._receiver, self._sender):
            end.setblocking(False)
        self._is_woken = False

    def fileno(self) -> int:
        """The descriptor that becomes readable on `wake`."""
        return self._receiver.fileno()

    def wake(self) -> None:
        """Wake the thread, from any thread or greenlet; never blocks, harmless when repeated or after `close`."""
        if self._is_woken:
            return
        self._is_woken = True
        with suppress(OSError):
            self._sender.send(b"!")

    def clear(self) -> None:
        """Make the next wait block again; the woken thread calls this before it looks for its work."""
        # The socket is emptied first. A `wake` in between sends nothing, but its work is found right after this.
        with suppress(OSError):
            self._receiver.recv(64)
        self._is_woken = False

    def close(self) -> None:
        """Close both sockets."""
        self._receiver.close()
        self._sender.close()


def wait_for_io(reading: Iterable[int], writing: Iterable[int] = (), *, timeout_s: float | None) -> bool:
    """Block until one descriptor is readable, writable or has failed; False if `timeout_s` passed first."""
    timeout_s = None if timeout_s is None else max(0.0, timeout_s)
    if not hasattr(select, "poll"):
        return any(select.select(list(reading), list(writing), [], timeout_s))
    poll = _original(select, "poll")()
    for events, descriptors in ((select.POLLIN, reading), (select.POLLOUT, writing)):
        for descriptor in descriptors:
            poll.register(descriptor, events)
    # Rounded up to a whole millisecond: otherwise the wait ends just before its deadline, again and again.
    return bool(poll.poll(None if timeout_s is None else int(timeout_s * 1_000) + (timeout_s > 0)))


class ForkAware(Protocol):
    """An object that a forked child inherits and must not use as it is."""

    def after_fork(self) -> None:
        """In the child: drop inherited locks, threads and sockets; leave the parent's files alone."""


_fork_aware: "weakref.WeakSet[ForkAware]" = weakref.WeakSet()


def call_after_fork(thing: ForkAware) -> None:
    """Call `thing.after_fork()` in every child forked from now on, as long as `thing` lives."""
    _fork_aware.add(thing)


class PerProcess(Generic[T]):
    """One object for each process: `make` is called at the first use, and again in each forked child that uses it."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._object: T | None = None
        self._lock = lock()
        call_after_fork(self)

    def get(self) -> T:
        """This process's object."""
        with self._lock:
            if self._object is None:
                self._object = self._make()
            return self._object

    def after_fork(self) -> None:
        """In the child: forget the parent's object, whose threads were not copied, and whose locks may be held."""
        self._object, self._lock = None, lock()


def _after_fork() -> None:
    for thing in list(_fork_aware):
        thing.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
