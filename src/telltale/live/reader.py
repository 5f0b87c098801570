"""Reads the store for clients, off the event loop: one thread, one small query after another.

However many clients come at once (after a restart, all of them), the database gets their topics in batches, one read
at a time. Between reads the one connection is given back (or kept, if CONN_MAX_AGE says so). A read has a time limit: a
database that hangs, or a network that loses all packets, would otherwise hold up all later reads. Used by
`refresher.py` alone.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from django.db import close_old_connections

from telltale import store
from telltale.core.wire import Envelope
from telltale.dispatch.queue_status import request_queue_status

BATCH: Final = 400
"""Topics in one query; databases limit its parameters (SQLite by default to 999, in old versions)."""

EnvelopesByTopic = dict[str, list[Envelope]]


class Reader:
    """Reads for one event loop. `prepare` runs in the thread before each read, so that the broker is listened to."""

    def __init__(self, prepare: Callable[[Collection[str]], None]) -> None:
        self.offset_s = time.time() - time.monotonic()
        """The store's clock minus the monotonic clock, as last measured; before that, this machine's."""
        self._prepare = prepare
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="telltale-read")

    async def read(self, topics: Iterable[str]) -> EnvelopesByTopic:
        """Return what the store knows of these topics; raises what the database raises."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._read, sorted(topics))

    def close(self) -> None:
        """Stop; waiting reads are cancelled."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _read(self, topics: list[str]) -> EnvelopesByTopic:
        """Read in the thread."""
        close_old_connections()
        try:
            self._prepare(topics)
            with store.time_limit():
                now = store.now()
            self.offset_s = now - time.monotonic()
            by_topic: EnvelopesByTopic = {}
            for start in range(0, len(topics), BATCH):
                with store.time_limit():
                    envelopes = store.read_topics(topics[start : start + BATCH])
                snapshots = [envelope.snapshot for envelope in envelopes if envelope.snapshot is not None]
                request_queue_status(snapshots, now=now)
                for envelope in envelopes:
                    for topic in envelope.topics:
                        by_topic.setdefault(topic, []).append(envelope)
            return by_topic
        finally:
            close_old_connections()


def distinct_envelopes(by_topic: EnvelopesByTopic, topics: Iterable[str]) -> list[Envelope]:
    """Return the envelopes of these topics, each once."""
    return list({id(envelope): envelope for topic in topics for envelope in by_topic.get(topic, ())}.values())
