"""Receives the stand-in's messages from Telltale's broker, for one event loop.

Following a topic may block, so a thread does that. What it reports, and what arrives, is handled on the loop.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import Final

from telltale.brokers import broker
from telltale.brokers.base import EventLoopBroker, Listener, SelectiveListener
from telltale.core.outage import Outage
from telltale.pusher.server.link.site_messages import PREFIX
from telltale.pusher.server.link.threads import started_thread

FOLLOW_WAIT_S: Final = 2.0
"""A caller of `follow` waits for at most this long."""

FORGET_AFTER_S: Final = 10.0
"""A topic that is followed no longer is received for this long: a reloaded page comes back to it."""

RETRY_LISTEN_S: Final = 2.0
"""Time until listening is tried again after it failed."""

WAITING: Final = 10_000
"""Messages that may wait for the event loop; beyond that new ones are dropped."""

SLICE: Final = 200
"""Messages, or callers of `follow`, that are handled in one turn of the event loop."""

logger = logging.getLogger(__name__)


class _Following:
    """A topic that is followed, or will be soon."""

    __slots__ = ("count", "timer", "waiting")

    def __init__(self) -> None:
        self.count = 0
        self.waiting: list[Callable[[], None]] | None = []
        """Called once the topic is received; None afterwards."""
        self.timer: asyncio.TimerHandle | None = None


class SiteListener:
    """The topics of one event loop. Methods are called on the loop; `close` in another thread."""

    def __init__(self, receive: Callable[[Sequence[bytes]], None], missed: Callable[[Collection[str] | None], None]):
        """`receive` and `missed` (topics of which messages may be lost; None: any) are called on the loop."""
        self._loop = asyncio.get_running_loop()
        self._receive, self._missed = receive, missed
        self._followings: dict[str, _Following] = {}
        self._idle: dict[str, float] = {}
        self._takes_all = False
        """Whether the broker delivers all topics anyway."""
        # Shared with the broker's thread, under the lock.
        self._lock = threading.Lock()
        self._waiting: deque[bytes] = deque()
        self._is_handing_over = False
        # Shared with the thread, under the condition. Topic → whether to follow it, or to forget it.
        self._changed = threading.Condition()
        self._requests: dict[str, bool] = {}
        self._is_closing = False
        # The thread's own.
        self._listener: Listener | None = None
        self._wanted: set[str] = set()
        self._unfollowed: set[str] = set()
        """Those that the broker is to follow now, or failed to follow; these are tried again."""
        self._retry_at = float("-inf")
        self._outage = Outage(
            logger, "Receiving from other server processes", "Clients get only what is published in their own process."
        )
        self._thread: threading.Thread | None = None

    # On the loop ---------------------------------------------------------------------------------

    def follow(self, topic: str, then: Callable[[], None]) -> None:
        """Receive this topic, and call `then` once that works, or after `FOLLOW_WAIT_S`; at once if it does already."""
        self._idle.pop(topic, None)
        following = self._followings.get(topic)
        if following is None:
            following = self._followings[topic] = _Following()
            if self._takes_all:
                following.waiting = None
            else:
                following.timer = self._loop.call_later(FOLLOW_WAIT_S, self._release, topic)
                self._request({topic: True})
        following.count += 1
        if following.waiting is None:
            then()
        else:
            following.waiting.append(then)

    def unfollow(self, topic: str) -> None:
        """One caller of `follow` less; without any, the topic is forgotten after a while."""
        following = self._followings.get(topic)
        if following is None:
            return
        following.count -= 1
        if not following.count:
            self._idle[topic] = time.monotonic() + FORGET_AFTER_S

    def forget_idle(self, now: float) -> None:
        """Forget topics that are followed no longer. Call this every few seconds."""
        # In the order of their times: the first ones are due first.
        idle = []
        for topic, forget_at in self._idle.items():
            if forget_at > now:
                break
            idle.append(topic)
        for topic in idle:
            del self._idle[topic]
            self._cancel_timer(self._followings.pop(topic))
        if idle and not self._takes_all:
            self._request(dict.fromkeys(idle, False))
        self._start()

    def close(self) -> None:
        """Stop receiving. Blocks until the thread has ended, for about a second."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _request(self, requests: dict[str, bool]) -> None:
        with self._changed:
            self._requests.update(requests)
            self._changed.notify()
        self._start()

    def _start(self) -> None:
        """Start the thread, unless it runs. If the system has none to give, `forget_idle` tries again."""
        if self._thread is None and not self._is_closing:
            self._thread = started_thread(self._run, "telltale-pusher-listener", self._outage)

    def _followed(self, topics: Sequence[str], takes_all: bool) -> None:
        """The thread has followed these topics, or can't; their callers go on, in slices."""
        self._takes_all = takes_all
        for topic in topics[:SLICE]:
            self._release(topic)
        if topics[SLICE:]:
            self._loop.call_soon(self._followed, topics[SLICE:], takes_all)

    def _release(self, topic: str) -> None:
        following = self._followings.get(topic)
        if following is None or following.waiting is None:
            return
        waiting, following.waiting = following.waiting, None
        self._cancel_timer(following)
        for then in waiting:
            try:
                then()
            except Exception:
                logger.exception("A subscription failed; the others go on.")

    def _cancel_timer(self, following: _Following) -> None:
        if following.timer is not None:
            following.timer.cancel()
            following.timer = None

    def _hand_over(self) -> None:
        """Hand some of the received messages over; the others follow in the next turns."""
        with self._lock:
            bodies = list(islice(self._waiting, SLICE))
            for _ in bodies:
                self._waiting.popleft()
            self._is_handing_over = bool(self._waiting)
            has_more = self._is_handing_over
        if has_more:
            self._loop.call_soon(self._hand_over)
        self._receive(bodies)

    # Called by the broker, in its thread or on the loop --------------------------------------------

    def _deliver(self, messages: Sequence[bytes]) -> None:
        bodies = [body for body in messages if body.startswith(PREFIX)]
        with self._lock:
            has_room = len(self._waiting) + len(bodies) <= WAITING
            if has_room:
                self._waiting += bodies
            must_start = bool(self._waiting) and not self._is_handing_over
            self._is_handing_over |= must_start
        if must_start:
            self._call_on_loop(self._hand_over)
        if not has_room:
            self._report_missed(None)

    def _report_missed(self, topics: Collection[str] | None) -> None:
        self._call_on_loop(partial(self._missed, topics))

    def _call_on_loop(self, function: Callable[[], None]) -> None:
        # RuntimeError: the loop has ended, and all its clients with it.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function)

    # In the thread -------------------------------------------------------------------------------

    def _run(self) -> None:
        while (requests := self._take()) is not None:
            topics = [topic for topic, is_followed in requests.items() if is_followed]
            forgotten = [topic for topic, is_followed in requests.items() if not is_followed]
            self._wanted.update(topics)
            self._wanted.difference_update(forgotten)
            self._unfollowed = (self._unfollowed & self._wanted).union(topics)
            try:
                self._update(forgotten)
            except Exception as error:
                # A broker may be anyone's code, and work again later.
                now = time.monotonic()
                self._outage.begin(error, now=now)
                self._retry_at = now + RETRY_LISTEN_S
            takes_all = self._listener is not None and not isinstance(self._listener, SelectiveListener)
            self._call_on_loop(partial(self._followed, topics, takes_all))
        if self._listener is not None:
            self._listener.close()

    def _take(self) -> dict[str, bool] | None:
        """Wait for requests, or for the time to try again; None at the end."""
        with self._changed:
            is_complete = self._listener is not None and not self._unfollowed
            self._changed.wait_for(lambda: self._requests or self._is_closing, None if is_complete else RETRY_LISTEN_S)
            requests, self._requests = self._requests, {}
            return None if self._is_closing else requests

    def _update(self, forgotten: list[str]) -> None:
        if self._listener is None:
            if time.monotonic() < self._retry_at:
                return
            self._listener = self._listen()
            self._unfollowed, forgotten = set(self._wanted), []
        if isinstance(self._listener, SelectiveListener):
            if forgotten:
                self._listener.forget(forgotten)
            if self._unfollowed:
                self._listener.follow(list(self._unfollowed))
        self._unfollowed = set()
        if self._outage.is_ongoing:
            self._outage.end(now=time.monotonic())
            self._report_missed(None)

    def _listen(self) -> Listener:
        source = broker()
        if isinstance(source, EventLoopBroker):
            return source.listen_on(self._loop, self._deliver, self._report_missed)
        return source.listen(self._deliver, self._report_missed)
