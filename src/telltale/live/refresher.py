"""Keeps clients up to date from the store: a read for each new client, and regular reads while topics are followed.

The interval of the regular reads depends on the reach of the broker; what a broker may have lost is read soon. The
refresher decides when and what is read; `reader.py` reads, `broker_feed.py` listens to the broker. While the
database fails, clients that wait for their snapshots go on waiting. Everything is on the event loop. Used by
`driver.py` alone.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Final

from telltale.brokers import recheck_s
from telltale.core.hub import Hub
from telltale.core.outage import Outage
from telltale.core.snapshot import Order
from telltale.core.topics import task_topic
from telltale.core.wire import Envelope
from telltale.live.broker_feed import BrokerFeed
from telltale.live.reader import EnvelopesByTopic, Reader, distinct_envelopes

logger = logging.getLogger(__name__)

MIN_RECHECK_S: Final = 1.0
"""Regular reads are at least this far apart, however much a broker loses."""

CONFIRMED_AT_ONCE: Final = 400
"""Ends that are looked up by one read. Of more, their topics are read with the next regular one."""

RETRY_READ_S: Final = 1.0
"""Time until a failed read for waiting clients is repeated."""

CLIENTS_PER_TURN: Final = 100
"""Waiting clients that receive what was read in one turn of the event loop; then others have theirs."""


DeliverRead = Callable[[Collection[Envelope], Mapping[str, Order]], None]
"""Called with what was read of all followed topics, and with what had been heard of its tasks before."""

OnRead = Callable[[list[Envelope]], None]
"""Called with what was read; identifies the client that waits."""


@dataclass(frozen=True, slots=True)
class _Wait:
    """What a client waits for."""

    topics: frozenset[str]
    is_gone: Callable[[], bool]


class Refresher:
    """Reads for the clients of one driver."""

    def __init__(self, hub: Hub, feed: BrokerFeed, deliver: DeliverRead) -> None:
        """`deliver` is called with what the regular reads find."""
        self._hub, self._feed, self._deliver = hub, feed, deliver
        self._reader = Reader(feed.subscribe)
        self._waiting: dict[OnRead, _Wait] = {}
        self._missed: set[str] = set()
        self._has_missed = asyncio.Event()
        self._read_task: asyncio.Task[None] | None = None
        self._reread_task: asyncio.Task[None] | None = None
        self._outage = Outage(logger, "Reading for pages", "Pages stay as they are until it works again.")

    @property
    def offset_s(self) -> float:
        """The store's clock minus the monotonic clock, as last measured."""
        return self._reader.offset_s

    @property
    def can_read(self) -> bool:
        """Whether the last read of the store succeeded."""
        return not self._outage.is_ongoing

    def read_for(self, topics: frozenset[str], on_read: OnRead, is_gone: Callable[[], bool]) -> None:
        """Read `topics` soon and call `on_read` with the envelopes; a failed read is repeated until `is_gone`.

        Calls with the same `on_read` are merged until the next read: a client that renews its ticket waits once.
        """
        previous = self._waiting.get(on_read)
        self._waiting[on_read] = _Wait(topics if previous is None else topics | previous.topics, is_gone)
        if self._read_task is None or self._read_task.done():
            self._read_task = asyncio.ensure_future(self._read_for_waiting())

    def confirm(self, ends: Collection[Envelope]) -> None:
        """Read the tasks of these ends now, because the messages about them may be forged, and deliver what is true."""
        followed = [end for end in ends if any(map(self._hub.has_followers, end.topics))]
        if not followed:
            return
        waiting = self._waiting.get(self._deliver_confirmed)
        if len(followed) + (0 if waiting is None else len(waiting.topics)) > CONFIRMED_AT_ONCE:
            return self.missed({topic for end in followed for topic in end.topics})
        self.read_for(frozenset(task_topic(end.about) for end in followed), self._deliver_confirmed, lambda: False)

    def _deliver_confirmed(self, envelopes: Collection[Envelope]) -> None:
        self._deliver(envelopes, {})

    def start_rereading(self) -> None:
        """Begin the regular reads, which go on while any topic is followed; harmless when repeated."""
        if self._reread_task is None or self._reread_task.done():
            self._reread_task = asyncio.ensure_future(self._reread())

    def missed(self, topics: Collection[str] | None) -> None:
        """A message of these topics (None: of any) may be lost: read them soon."""
        self._missed |= self._hub.topics if topics is None else set(topics)
        self._has_missed.set()

    def close(self) -> None:
        """Stop reading."""
        for task in (self._read_task, self._reread_task):
            if task is not None:
                task.cancel()
        self._reader.close()

    async def _read_for_waiting(self) -> None:
        """Read for all that wait in one go, and again for those that came meanwhile."""
        while self._waiting:
            waiting, self._waiting = self._waiting, {}
            by_topic = await self._read(frozenset().union(*(wait.topics for wait in waiting.values())))
            if by_topic is not None:
                await self._hand_out(waiting, by_topic)
                continue
            for on_read, wait in waiting.items():
                if not wait.is_gone():
                    self.read_for(wait.topics, on_read, wait.is_gone)
            await asyncio.sleep(RETRY_READ_S)

    async def _hand_out(self, waiting: dict[OnRead, _Wait], by_topic: EnvelopesByTopic) -> None:
        clients = iter(waiting.items())
        while batch := list(islice(clients, CLIENTS_PER_TURN)):
            for on_read, wait in batch:
                try:
                    on_read(distinct_envelopes(by_topic, wait.topics))
                except Exception:
                    # As below: the others have waited for the same read.
                    logger.exception("What was read for a client could not be handed over; the others go on.")
            await asyncio.sleep(0)

    async def _reread(self) -> None:
        last_full_at = time.monotonic()
        while self._hub.topics:
            interval_s = recheck_s(self._feed.reach)
            await asyncio.sleep(min(MIN_RECHECK_S, interval_s))
            with suppress(TimeoutError):
                left_s = last_full_at + interval_s - time.monotonic()
                await asyncio.wait_for(self._has_missed.wait(), max(0.0, left_s))
            missed = self._take_missed()
            if time.monotonic() >= last_full_at + interval_s:
                last_full_at = time.monotonic()
                await self._reread_topics(self._hub.topics, self._hub.begin_read())
            else:
                await self._reread_topics(missed, {})

    def _take_missed(self) -> frozenset[str]:
        """Return the followed topics of which a message may be lost, and start afresh."""
        missed, self._missed = self._missed, set()
        self._has_missed.clear()
        return frozenset(filter(self._hub.has_followers, missed))

    async def _reread_topics(self, topics: frozenset[str], heard: Mapping[str, Order]) -> None:
        self._feed.unsubscribe_unless(self._hub.has_followers)
        by_topic = await self._read(topics)
        if by_topic is None:
            return self._hub.read_failed(heard)
        try:
            self._deliver(distinct_envelopes(by_topic, topics), heard)
        except Exception:
            # One envelope that fails must not end the regular reads for all others.
            logger.exception("What was read from the store could not be delivered; the next read follows.")

    async def _read(self, topics: frozenset[str]) -> EnvelopesByTopic | None:
        """Return what the store knows of these topics; None if the read failed."""
        try:
            by_topic = await self._reader.read(topics)
        except Exception as error:
            # A database may raise any error, and work again in a second.
            self._outage.begin(error, now=time.monotonic())
            return None
        self._outage.end(now=time.monotonic())
        return by_topic
