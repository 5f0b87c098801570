"""Gives a new process the last events of cache channels, and those that a process missed. Pure.

Each event goes to all processes when it is published. A process asks every other one, when it first hears of it, for
the events that the other received from the HTTP API; the leader also answers for processes that are gone. A process
may die just before another starts: the leader takes it for alive when the new one asks, and so sends its events later,
when it finds that the process is gone.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final, Protocol

from telltale.pusher.server.link.last_events import LastEvent, LastEvents
from telltale.pusher.server.membership.entries import READ_ERRORS, SOFT_BYTES, MalformedReport, encode

PAGES_PER_TURN: Final = 2
"""The most pages of one answer in one call of `take_messages`."""

ASK_AGAIN_S: Final = 2.0
"""Until a question is repeated that was not answered completely."""

TRIES: Final = 5
"""How often a process is asked in all."""

MARGIN_S: Final = 5.0
"""Events that were published this long before a loss are asked for too."""

NEW_S: Final = 60.0
"""A process that started this short a time ago may have asked the leader before the leader found another one gone."""


TO_ALL: Final = ""
"""In place of the process that asked, in an answer that nobody asked for."""


class Peers(Protocol):
    """The other processes; `Membership` knows them."""

    @property
    def processes(self) -> list[str]:
        """Those that live."""

    @property
    def is_leader(self) -> bool:
        """Whether this process is the leader."""

    def heard_at(self, process: str) -> float | None:
        """When a process was last heard."""


class _Question:
    """What one process was asked for, and which pages of its answer have come."""

    def __init__(self, max_age_s: float | None) -> None:
        self.max_age_s = max_age_s
        """None: all events."""
        self.ask_at = float("-inf")
        self.tries = 0
        self.pages: set[int] = set()
        self.last: int | None = None
        """The number of the answer's last page, once that has come."""

    @property
    def is_answered(self) -> bool:
        """Whether all pages have come."""
        return self.last is not None and len(self.pages) > self.last


class CacheSync:
    """Asks and answers for one process. Messages are JSON text."""

    def __init__(self, process: str, events: LastEvents, peers: Peers) -> None:
        self._process, self._events, self._peers = process, events, peers
        self._known: dict[str, float] = {}
        """The other processes, and when each was first heard."""
        self._gone: dict[str, float] = {}
        """Processes that are gone, and when that was found; the leader sends their events to new processes."""
        self._questions: dict[str, _Question] = {}
        self._answers: dict[str, Iterator[str]] = {}

    def missed(self, now: float) -> None:
        """Messages may be lost: ask all processes for what they published since they were last heard."""
        for process in self._known:
            heard_at = self._peers.heard_at(process)
            if process not in self._questions and heard_at is not None:
                self._questions[process] = _Question(now - heard_at + MARGIN_S)

    def receive(self, message: str, now: float) -> None:
        """Read a message of another process; raises `MalformedReport`."""
        try:
            self._read(json.loads(message), now)
        except READ_ERRORS as error:
            raise MalformedReport(f"A process sent events in another form: {message:.80} ({error!r})") from error

    def take_messages(self, now: float) -> list[str]:
        """Return the questions and answers that are due."""
        self._notice_processes(now)
        messages: list[str] = []
        for process, question in list(self._questions.items()):
            if question.ask_at <= now:
                messages += self._ask(process, question, now)
        for process, answer in list(self._answers.items()):
            pages = list(islice(answer, PAGES_PER_TURN))
            messages += pages
            if len(pages) < PAGES_PER_TURN:
                del self._answers[process]
        return messages

    @property
    def due_at(self) -> float:
        """When `take_messages` has something to return; infinity if not by time alone."""
        if self._answers or self._known.keys() != set(self._peers.processes):
            return float("-inf")
        return min((question.ask_at for question in self._questions.values()), default=float("inf"))

    def _notice_processes(self, now: float) -> None:
        processes = set(self._peers.processes)
        for process in processes - self._known.keys():
            self._known[process] = now
            self._questions[process] = _Question(None)
        for process in self._known.keys() - processes:
            del self._known[process]
            self._questions.pop(process, None)
            self._gone[process] = now
        if self._gone:
            self._answer_for_gone(now)

    def _answer_for_gone(self, now: float) -> None:
        """As the leader, send the events of processes found gone, if a new process may lack them."""
        self._gone = {process: at for process, at in self._gone.items() if now - at <= NEW_S}
        if not self._peers.is_leader or TO_ALL in self._answers:
            # This process may become the leader: the leader may be gone too, and not be found gone yet.
            return
        if any(now - first_heard <= NEW_S for first_heard in self._known.values()):
            self._answers[TO_ALL] = self._pages(TO_ALL, self._events_of(self._gone), now)
        self._gone = {}

    def _ask(self, process: str, question: _Question, now: float) -> list[str]:
        if question.tries == TRIES:
            del self._questions[process]
            return []
        question.tries += 1
        question.ask_at = now + ASK_AGAIN_S
        question.pages.clear()
        return [self._message("cache?", of=process, max_age=question.max_age_s)]

    def _read(self, report: Mapping[str, Any], now: float) -> None:
        process, kind = report["p"], report["k"]
        if kind == "cache?" and report["of"] == self._process:
            self._answers[process] = self._pages(process, self._asked_for(report["max_age"], now), now)
        elif kind == "cache":
            for app_id, channel, text, counter, origin, ttl_s in report["e"]:
                event = LastEvent(text=text, counter=counter, origin=origin, kept_at=now, expires_at=now + ttl_s)
                self._events.receive(app_id, channel, event, now=now)
            self._page_came(process, report, now)

    def _page_came(self, process: str, report: Mapping[str, Any], now: float) -> None:
        question = self._questions.get(process)
        if question is None or report["to"] != self._process:
            return
        question.pages.add(report["i"])
        question.ask_at = now + ASK_AGAIN_S
        if report["last"]:
            question.last = report["i"]
        if question.is_answered:
            del self._questions[process]

    def _asked_for(self, max_age_s: float | None, now: float) -> Iterator[tuple[str, str, LastEvent]]:
        """Yield the events that this process answers for."""
        kept_from = float("-inf") if max_age_s is None else now - max_age_s
        return (entry for entry in self._events if self._answers_for(entry[2]) and entry[2].kept_at >= kept_from)

    def _events_of(self, processes: Collection[str]) -> Iterator[tuple[str, str, LastEvent]]:
        """Yield the events that these processes published."""
        origins = frozenset(processes)
        return (entry for entry in self._events if entry[2].origin in origins)

    def _pages(self, asker: str, events: Iterable[tuple[str, str, LastEvent]], now: float) -> Iterator[str]:
        """Yield the pages of an answer; at least one."""
        entries: list[str] = []
        number = size = 0
        for app_id, channel, event in events:
            if event.expires_at <= now:
                continue
            if size >= SOFT_BYTES:
                yield self._page(asker, number, entries, is_last=False)
                entries, number, size = [], number + 1, 0
            entries.append(encode([app_id, channel, event.text, event.counter, event.origin, event.ttl_s(now)]))
            size += len(entries[-1])
        yield self._page(asker, number, entries, is_last=True)

    def _answers_for(self, event: LastEvent) -> bool:
        if event.origin == self._process:
            return True
        return self._peers.is_leader and event.origin not in self._known

    def _page(self, asker: str, number: int, entries: list[str], *, is_last: bool) -> str:
        head = self._message("cache", to=asker, i=number, last=is_last)
        return f'{head[:-1]},"e":[{",".join(entries)}]}}'

    def _message(self, kind: str, **fields: Any) -> str:
        return encode({"p": self._process, "k": kind, **fields})
