"""A page in a browser: merges messages by the real order, takes notices, and reconnects."""

import json
from collections import deque
from functools import lru_cache

from telltale.core.policy import Grant
from telltale.core.snapshot import supersedes
from tests.simulation.ledger import Ledger, require
from tests.simulation.rng import Rng
from tests.simulation.sabotage import Sabotage, Sabotages
from tests.simulation.sabotaged import always_supersedes, supersedes_by_seq
from tests.simulation.store import Store
from tests.simulation.view import View
from tests.simulation.web import Link, Web

TICKET_S = 300.0


decoded = lru_cache(maxsize=64)(json.loads)
"""Reads a frame, once for all the pages that it is sent to; none of them changes it."""


class Page:
    """Follows `topics`. `reads` is False while it receives messages and handles none."""

    def __init__(self, name: str, topics: frozenset[str], store: Store, ledger: Ledger, sabotage: Sabotages) -> None:
        self.name, self.topics = name, topics
        self.awake = True
        self.reads = True
        self.links: deque[tuple[Web, Link]] = deque()
        self.return_at = 0.0
        rule = supersedes
        if Sabotage.NO_ORDER_IN_BROWSER in sabotage:
            rule = always_supersedes
        elif Sabotage.END_AS_PROGRESS in sabotage:
            rule = supersedes_by_seq
        self.view = View(rule)
        self._store, self._ledger = store, ledger

    def grant(self, now: float) -> Grant:
        """Return a new ticket."""
        return Grant(topics=self.topics, expires_at=now + TICKET_S)

    @property
    def connected(self) -> bool:
        """Whether it has a connection, as far as it knows."""
        return any(not link.is_cut for _, link in self.links)

    def connect(self, web: Web, now: float, rng: Rng, *, overlap: bool = False) -> None:
        """Open a connection; the old one ends, or with `overlap` remains for a while."""
        if not overlap:
            self.leave()
        link = web.connect(self.grant(now), self.view.have, self.view.notices, now, rng)
        self.links.append((web, link))
        while len(self.links) > 2:
            self.links.popleft()[1].cut()

    def leave(self) -> None:
        """End all its connections."""
        for _, link in self.links:
            link.cut()
        self.links.clear()

    def handle_messages(self, now: float) -> None:
        """Handle the messages that have arrived, on all connections."""
        for _, link in self.links:
            if link.is_cut or (link.wire and link.wire[0][0] <= now):
                break
        else:
            return
        for web, link in list(self.links) if self.reads else ():
            while link.wire and link.wire[0][0] <= now:
                self._receive(link.wire.popleft()[1], web, link, now)
            if link.is_cut:
                self.links.remove((web, link))

    def _receive(self, frame: str, web: Web, link: Link, now: float) -> None:
        message = decoded(frame)
        if message["type"] == "bye":
            link.cut()
            self.return_at = now if message["again"] == "at once" else now + 1.0
            return
        self.merge(message)
        if "n" in message:
            web.acknowledge(link, message["n"], now)

    def merge(self, message: dict[str, object]) -> None:
        """Merge one message of the server, of any transport."""
        before = dict(self.view.tasks)
        notices = set(self.view.notices)
        for task in message.get("corrected", ()):  # type: ignore[attr-defined]
            old = before.pop(task, None)
            self._ledger.corrected(task, old.order if old else None)
        self._ledger.events["a page ignored something"] += bool(self.view.receive(message))
        for task, snapshot in self.view.tasks.items():
            if (old := before.get(task)) is not snapshot:
                require(self.may_see(task), f"P: {self.name} saw a task of another person")
                self._ledger.shown(snapshot, old.order if old else None)
        for notice in self.view.notices.keys() - notices:
            require(self.view.notices[notice]["topic"] in self.topics, f"P: {self.name} saw a notice of another person")
            if self._store.take_notice(notice):
                self._ledger.notice_shown(notice)

    def may_see(self, task: str) -> bool:
        """Whether its ticket covers the task."""
        return not self.topics.isdisjoint((f"task:{task}", self._store.owners[task]))
