"""Reading the store for followers, off the event loop: one thread, one read at a time, many askers in one query.

However many clients come at once (a restart brings all of them back), the database sees one small query after
another. Between reads the one connection is given back (or kept, if CONN_MAX_AGE says so). Used by `driver.py` alone.
"""

import asyncio
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from django.db import close_old_connections

from telltale import store
from telltale.core.wire import Envelope
from telltale.runners.waiting import wonder

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
        self._waiting: list[tuple[frozenset[str], asyncio.Future[Found]]] = []
        self._at_work: asyncio.Task[None] | None = None

    async def read(self, topics: frozenset[str]) -> Found:
        """What the store knows of these topics from now on; raises what the database raises."""
        future: asyncio.Future[Found] = asyncio.get_running_loop().create_future()
        self._waiting.append((topics, future))
        if self._at_work is None or self._at_work.done():
            self._at_work = asyncio.ensure_future(self._work())
        return await future

    def close(self) -> None:
        """Stop; whoever waits is cancelled."""
        if self._at_work is not None:
            self._at_work.cancel()
        for _topics, future in self._waiting:
            future.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            askers, self._waiting = self._waiting, []
            wanted = sorted({topic for topics, _future in askers for topic in topics})
            try:
                found = await loop.run_in_executor(self._thread, self._read, wanted)
            except Exception as error:
                for _topics, future in askers:
                    if not future.done():
                        future.set_exception(error)
            else:
                for topics, future in askers:
                    if not future.done():
                        future.set_result({topic: found[topic] for topic in topics if topic in found})
            finally:
                # Only those are still open here whose reader was closed.
                for _topics, future in askers:
                    future.cancel()

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
                wonder([e.snapshot for e in envelopes if e.snapshot is not None], now=now)
                for envelope in envelopes:
                    for topic in envelope.topics:
                        found.setdefault(topic, []).append(envelope)
            return found
        finally:
            close_old_connections()


def together(found: Found) -> list[Envelope]:
    """All that was found, each once."""
    return list({id(envelope): envelope for envelopes in found.values() for envelope in envelopes}.values())
