"""Reading the store for followers, off the event loop: one thread, one small query after another.

However many clients come at once (a restart brings all of them back), the database sees them in batches, one read
at a time. Between reads the one connection is given back (or kept, if CONN_MAX_AGE says so). Used by
`freshness.py` alone.
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
"""Topics in one query; databases bound the parameters of one (SQLite's default: 999 on old versions)."""

Found = dict[str, list[Envelope]]
"""Envelopes by topic."""


class Reader:
    """Belongs to one event loop. `prepare` runs in the thread before each read, to have the broker heard first."""

    def __init__(self, prepare: Callable[[Collection[str]], None]) -> None:
        self.offset_s = 0.0
        """The store's clock minus this machine's, as last measured."""
        self._prepare = prepare
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="telltale-read")

    async def read(self, topics: Iterable[str]) -> Found:
        """What the store knows of these topics from now on; raises what the database raises."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._read, sorted(topics))

    def close(self) -> None:
        """Stop; whoever waits is cancelled."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _read(self, topics: list[str]) -> Found:
        """In the thread."""
        close_old_connections()
        try:
            self._prepare(topics)
            now = store.now()
            self.offset_s = now - time.time()
            found: Found = {}
            for start in range(0, len(topics), BATCH):
                envelopes = store.read_topics(topics[start : start + BATCH])
                request_queue_status([e.snapshot for e in envelopes if e.snapshot is not None], now=now)
                for envelope in envelopes:
                    for topic in envelope.topics:
                        found.setdefault(topic, []).append(envelope)
            return found
        finally:
            close_old_connections()


def together(found: Found, topics: Iterable[str]) -> list[Envelope]:
    """What was found about these topics, each once."""
    return list({id(envelope): envelope for topic in topics for envelope in found.get(topic, ())}.values())
