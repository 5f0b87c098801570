"""Receives what the broker carries, for one event loop of a web process: one listener for all its clients.

The reader calls `subscribe` in its thread before each read of the store: attach first, read second, so that no
update is missed. Without a working broker, clients are updated by the regular reads of the store. Used by
`driver.py` alone.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from telltale.brokers import broker, is_private
from telltale.brokers.base import EventLoopBroker, Listener, Missed, MonitoredListener, Reach, SelectiveListener
from telltale.brokers.counts import counts
from telltale.core.outage import Outage
from telltale.core.topics import RIGHTS
from telltale.core.wire import Envelope
from telltale.live.incoming import usable_envelopes

logger = logging.getLogger(__name__)

RETRY_LISTEN_S: Final = 10.0
"""Time until the next try after the broker could not listen: a try may take seconds, and a read waits for it."""

MAX_WAITING: Final = 10_000
"""Envelopes that may wait for the event loop; beyond that they are dropped, and the store is read instead."""


class BrokerFeed:
    """The broker's messages, as envelopes on the event loop. A broker that can listen on the loop does."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        deliver: Callable[[list[Envelope]], None],
        confirm: Callable[[list[Envelope]], None],
        missed: Missed,
    ) -> None:
        """The callbacks are called on `loop`: `deliver` with what is to be shown, `confirm` with the ends of tasks that
        may be forged, `missed` with the topics that may have lost a message (None: any)."""
        self._reach = Reach.NOWHERE
        self._was_down = False
        self._is_private = False
        self._loop, self._deliver, self._confirm, self._missed = loop, deliver, confirm, missed
        self._listener_lock = threading.Lock()
        self._listener: Listener | None = None
        self._subscribed: set[str] = set()
        self._listen_at = float("-inf")
        self._is_closed = False
        self._waiting_lock = threading.Lock()
        self._waiting: list[Envelope] = []
        self._outage = Outage(logger, "Listening to the broker", "Pages are updated later, from the database.")

    @property
    def reach(self) -> Reach:
        """The reach of the broker that is listened to; NOWHERE while there is none, and while it is down."""
        return Reach.NOWHERE if self._listener is None or self.is_down else self._reach

    @property
    def is_down(self) -> bool:
        """Whether the broker's messages don't arrive, as far as is known: it could not be listened to, or was lost."""
        listener = self._listener
        is_lost = isinstance(listener, MonitoredListener) and not listener.is_connected
        is_down = is_lost or (listener is None and self._outage.is_ongoing)
        if is_down and not self._was_down:
            counts["outages"] += 1
        self._was_down = is_down
        return is_down

    # Subscribing, in the reader's thread or on the loop ------------------------------------------

    def subscribe(self, topics: Collection[str]) -> None:
        """Make sure that these topics are received; blocks for about a second if the broker is slow. Never raises."""
        with self._listener_lock:
            if self._is_closed:
                return
            try:
                self._listen()
                self._follow([RIGHTS, *topics])
                if self._listener is not None:
                    self._outage.end(now=time.monotonic())
            except Exception as error:
                # A broker may be anyone's code; without it the store is read at its own pace.
                self._outage.begin(error, now=time.monotonic())
                self._listen_at = time.monotonic() + RETRY_LISTEN_S

    def unsubscribe_unless(self, is_followed: Callable[[str], bool]) -> None:
        """Stop receiving topics that are no longer followed; returns at once, and does nothing while it is busy.

        Never raises.
        """
        if not isinstance(self._listener, SelectiveListener) or not self._listener_lock.acquire(blocking=False):
            return
        try:
            unfollowed = {topic for topic in self._subscribed if topic != RIGHTS and not is_followed(topic)}
            if unfollowed and isinstance(self._listener, SelectiveListener):
                self._subscribed -= unfollowed
                self._listener.forget(unfollowed)
        except Exception:
            # As in `subscribe`. An error here must not end the regular reads.
            logger.exception("The broker's listener could not forget topics.")
        finally:
            self._listener_lock.release()

    def close(self) -> None:
        """Stop receiving; blocks briefly."""
        with self._listener_lock:
            self._is_closed = True
            listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()

    def _listen(self) -> None:
        if self._listener is not None or time.monotonic() < self._listen_at:
            return
        source = broker()
        if isinstance(source, EventLoopBroker):
            self._listener = source.listen_on(self._loop, self._receive_on_loop, self._report_missed)
        else:
            self._listener = source.listen(self._receive_in_thread, self._report_missed)
        self._reach, self._is_private = source.reach, is_private()

    def _follow(self, topics: Collection[str]) -> None:
        if not isinstance(self._listener, SelectiveListener):
            return
        new = [topic for topic in topics if topic not in self._subscribed]
        if new:
            self._listener.follow(new)
            self._subscribed.update(new)  # Not before: after an error, the next read tries again.

    # Receiving, called by the broker -------------------------------------------------------------

    def _receive_on_loop(self, messages: Sequence[bytes]) -> None:
        envelopes, ends = self._usable(messages)
        if envelopes:
            self._deliver(envelopes)
        if ends:
            self._confirm(ends)

    def _receive_in_thread(self, messages: Sequence[bytes]) -> None:
        envelopes, ends = self._usable(messages)
        if ends:
            self._call_on_loop(partial(self._confirm, ends))
        with self._waiting_lock:
            was_empty = not self._waiting
            has_room = len(self._waiting) + len(envelopes) <= MAX_WAITING
            if has_room:
                self._waiting += envelopes
        if not has_room:
            self._report_missed()
        elif was_empty and envelopes:
            self._call_on_loop(self._deliver_waiting)

    def _usable(self, messages: Sequence[bytes]) -> tuple[list[Envelope], list[Envelope]]:
        """Return what is to be shown, and the ends that the store is to confirm."""
        counts["received"] += len(messages)
        ends: list[Envelope] = []
        on_claimed_end = None if self._is_private else ends.append
        return list(usable_envelopes(messages, is_wanted=_is_for_browsers, on_claimed_end=on_claimed_end)), ends

    def _report_missed(self, topics: Collection[str] | None = None) -> None:
        """Report topics (None: any) of which a message may be lost; any thread."""
        counts["gaps"] += 1
        self._call_on_loop(partial(self._missed, topics))

    def _deliver_waiting(self) -> None:
        with self._waiting_lock:
            envelopes, self._waiting = self._waiting, []
        self._deliver(envelopes)

    def _call_on_loop(self, function: Callable[[], None]) -> None:
        # RuntimeError: the loop has ended, and all its clients with it.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function)


def _is_for_browsers(envelope: Envelope) -> bool:
    return envelope.cancel is None
