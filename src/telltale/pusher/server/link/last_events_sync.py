"""Gives a new process the last events of cache channels, and those that a process missed. Pure.

Each event goes to all processes when it is published. A process asks every other one, when it first hears of it, for
the events that the other received from the HTTP API; the leader also answers for processes that are gone.
"""

import json
from collections.abc import Iterator, Mapping
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
        self._known: set[str] = set()
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
        self._notice_processes()
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
        if self._answers or self._known != set(self._peers.processes):
            return float("-inf")
        return min((question.ask_at for question in self._questions.values()), default=float("inf"))

    def _notice_processes(self) -> None:
        processes = set(self._peers.processes)
        for process in processes - self._known:
            self._questions[process] = _Question(None)
        for process in self._known - processes:
            self._questions.pop(process, None)
        self._known = processes

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
            self._answers[process] = self._answer(process, report["max_age"], now)
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

    def _answer(self, asker: str, max_age_s: float | None, now: float) -> Iterator[str]:
        """Yield the pages with the events that this process answers for; at least one."""
        entries: list[str] = []
        number = size = 0
        kept_from = float("-inf") if max_age_s is None else now - max_age_s
        for app_id, channel, event in self._events:
            if not self._answers_for(event) or event.expires_at <= now or event.kept_at < kept_from:
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
