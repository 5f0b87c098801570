"""A page of somebody's: folds what it hears by the real order, takes the notices, comes back when cut off."""

import json
from collections import deque

from telltale.core.policy import Grant
from telltale.core.snapshot import supersedes
from tests.simulation.ledger import Ledger, need
from tests.simulation.luck import Luck
from tests.simulation.sabotage import Sabotage, Sabotages
from tests.simulation.sabotaged import always_supersedes, supersedes_by_seq
from tests.simulation.store import Store
from tests.simulation.view import View
from tests.simulation.web import Link, Web

TICKET_S = 300.0


class Page:
    """Follows `topics`; `reads` is False while it hears but handles nothing."""

    def __init__(self, name: str, topics: frozenset[str], store: Store, ledger: Ledger, sabotage: Sabotages) -> None:
        self.name, self.topics = name, topics
        self.awake = True
        self.reads = True
        self.links: deque[tuple[Web, Link]] = deque()
        self.again_at = 0.0
        rule = supersedes
        if Sabotage.NO_ORDER_IN_BROWSER in sabotage:
            rule = always_supersedes
        elif Sabotage.END_AS_PROGRESS in sabotage:
            rule = supersedes_by_seq
        self.view = View(rule)
        self._store, self._ledger = store, ledger

    def grant(self, now: float) -> Grant:
        """A fresh ticket."""
        return Grant(topics=self.topics, expires_at=now + TICKET_S)

    @property
    def connected(self) -> bool:
        """Whether it believes so."""
        return any(not link.is_cut for _, link in self.links)

    def connects(self, web: Web, now: float, luck: Luck, *, overlap: bool = False) -> None:
        """A new connection; the old one goes, or goes on beside it for a while."""
        if not overlap:
            self.leaves()
        link = web.connects(self.grant(now), self.view.have, self.view.notices, now, luck)
        self.links.append((web, link))
        while len(self.links) > 2:
            self.links.popleft()[1].cut()

    def leaves(self) -> None:
        """All its connections end."""
        for _, link in self.links:
            link.cut()
        self.links.clear()

    def works(self, now: float) -> None:
        """Handle what has arrived, on all connections."""
        if not self.reads:
            return
        for web, link in list(self.links):
            while link.wire and link.wire[0][0] <= now:
                self._hears(link.wire.popleft()[1], web, link, now)
            if link.is_cut:
                self.links.remove((web, link))

    def _hears(self, frame: str, web: Web, link: Link, now: float) -> None:
        message = json.loads(frame)
        if message["type"] == "bye":
            link.cut()
            self.again_at = now if message["again"] == "at once" else now + 1.0
            return
        self.folds(message)
        if "n" in message:
            web.acknowledged(link, message["n"], now)

    def folds(self, message: dict[str, object]) -> None:
        """Any server message, by whatever transport."""
        before = dict(self.view.tasks)
        notices = set(self.view.notices)
        self._ledger.happened["a page ignored something"] += bool(self.view.receive(message))
        for task, snapshot in self.view.tasks.items():
            if (old := before.get(task)) is not snapshot:
                need(self.may_see(task), f"P: {self.name} saw a task of somebody else")
                self._ledger.shown(snapshot, old.order if old else None)
        for notice in self.view.notices.keys() - notices:
            need(self.view.notices[notice]["topic"] in self.topics, f"P: {self.name} saw a notice of somebody else")
            if self._store.take_notice(notice):
                self._ledger.notice_shown(notice)

    def may_see(self, task: str) -> bool:
        """Whether its ticket covers the task."""
        return not self.topics.isdisjoint((f"task:{task}", self._store.owners[task]))
