"""The followers of the soak, in one thread: each keeps its view of all tasks of its owner over all its connections.

A follower does what the client for browsers does: it names what it has when it connects, keeps the newer of two
snapshots, and returns after a closed connection at a random moment (`within_s`) or with back-off.
"""

import asyncio
import json
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from telltale.core.snapshot import Order
from telltale.core.states import ENDS
from tests.load.followers import CLOSE, Follower

ENDED: Final = frozenset(state.value.encode() for state in ENDS)
SNAPSHOT: Final = re.compile(rb'"id":"([0-9a-f-]{36})","attempt":(\d+),"seq":(\d+),"state":"(\w+)"')
MESSAGE: Final = re.compile(rb'"message":"(\d+\.\d+)"')

NAMED: Final = 150
"""How many snapshots a follower names when it connects, as the client for browsers does."""

GREETED_WITHIN_S: Final = 30.0

LATEST_MS: Final = 60_000
"""Delays are counted up to this."""


class Connection(Follower):
    """One connection of a person."""

    __slots__ = ("person",)

    def __init__(self, people: "People", person: "Person") -> None:
        super().__init__(people, person.owner, person.ticket)  # type: ignore[arg-type]
        self.person = person

    def _send(self, message: dict[str, object]) -> None:
        if message["type"] == "hello" and self.person.view:
            newest = list(self.person.view.items())[-NAMED:]
            message["have"] = {task.decode(): order for task, order in newest}
        super()._send(message)

    def data_received(self, data: bytes) -> None:
        try:
            super().data_received(data)
        except AssertionError:  # It was refused: a server that drains.
            self._transport.abort()

    def _handle(self, opcode: int, text: bytes) -> None:
        if opcode == CLOSE:
            self.person.people.closes[text[2:].decode()] += 1
            return self._transport.close()
        self.person.merge(text)
        if text.startswith(b'{"type":"update"'):
            self._all.deliveries += 1
            self._acknowledge_if_due(text)
        elif text.startswith(b'{"type":"bye"'):
            self.person.return_within_s = json.loads(text).get("within_s") or 0.0
        else:
            self._answer(text)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self.is_open.done() and not self.is_open.cancelled():
            self.is_open.exception()  # Retrieved: the person connects again.
        self.person.is_cut.set()


class Person:
    """One follower of an owner's tasks."""

    __slots__ = ("connected_at", "is_cut", "newest", "owner", "people", "return_within_s", "ticket", "view")

    def __init__(self, people: "People", owner: int, ticket: str) -> None:
        self.people, self.owner, self.ticket = people, owner, ticket
        self.view: dict[bytes, Order] = {}
        self.is_cut = asyncio.Event()
        self.connected_at: float | None = None
        self.return_within_s = 0.0
        self.newest = 0.0
        """When the task ran its line whose update this person has seen last."""

    def merge(self, text: bytes) -> None:
        """Keep what is newer. An older snapshot does no harm, and a correction must not come: nothing is forged."""
        for task, attempt, seq, state in SNAPSHOT.findall(text):
            order = (int(attempt), state in ENDED, int(seq))
            known = self.view.get(task)
            if known is None or order > known:
                self.view[self.people.one_of(task)] = order
        if b'"corrected":[' in text:
            self.people.corrections += 1
        if b'"state":"running"' in text and (message := MESSAGE.search(text)) is not None:
            self._note_delay(float(message[1]))

    def _note_delay(self, ran_at: float) -> None:
        """Count how late an update is. A heartbeat repeats the last one, and so does what a connection brings first."""
        now = time.monotonic()
        if ran_at > self.newest and self.connected_at is not None and now > self.connected_at + 3:
            self.people.delays_ms[min(LATEST_MS, int(1_000 * (now - ran_at)) // 10 * 10)] += 1
        self.newest = max(self.newest, ran_at)

    async def stay(self) -> None:
        """Be connected, again and again, until the people leave."""
        tries = 0
        while not self.people.are_leaving:
            self.is_cut.clear()
            line = None
            try:
                _, line = await self.people.loop.create_connection(
                    lambda: Connection(self.people, self), "127.0.0.1", self.people.port
                )
                await asyncio.wait_for(asyncio.shield(line.is_open), GREETED_WITHIN_S)
            except (OSError, TimeoutError):
                if line is not None:
                    line.close()  # A greeting may still come: the server would count it beside the next one.
                tries += 1
                await asyncio.sleep(min(30.0, 0.5 * 2**tries) * (0.5 + random.random() / 2))
                continue
            tries, self.connected_at = 0, time.monotonic()
            self.people.connected += 1
            try:
                await self.is_cut.wait()
            finally:
                line.close()
                self.people.connected -= 1
            self.people.returns += 1
            self.connected_at = None
            await asyncio.sleep(self.return_within_s * random.random() + 0.5 * random.random())
            self.return_within_s = 0.0


class View(NamedTuple):
    """What a person saw at the end."""

    owner: int
    tasks: dict[bytes, Order]


class People:
    """All of them, in a thread with an event loop. Other threads may read the attributes."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.all: list[Person] = []
        self.connected = self.deliveries = self.returns = self.corrections = self.passers_by = 0
        self.closes: Counter[str] = Counter()
        self.delays_ms: Counter[int] = Counter()
        self.are_leaving = False
        self.loop = asyncio.new_event_loop()
        self._ids: dict[bytes, bytes] = {}
        self._stays: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self.loop.run_forever, name="people")
        self._thread.start()

    def one_of(self, task: bytes) -> bytes:
        """The same bytes for the same id, which many people have."""
        return self._ids.setdefault(task, task)

    def arrive(self, tickets: Sequence[tuple[int, str]], *, per_s: float) -> None:
        """Let a person with each (owner, ticket) come and stay, so many a second."""
        asyncio.run_coroutine_threadsafe(self._arrive(tickets, per_s), self.loop).result()

    async def _arrive(self, tickets: Sequence[tuple[int, str]], per_s: float) -> None:
        began = self.loop.time()
        for count, (owner, ticket) in enumerate(tickets):
            await asyncio.sleep(max(0.0, began + count / per_s - self.loop.time()))
            person = Person(self, owner, ticket)
            self.all.append(person)
            self._keep(person.stay())

    def pass_by(self, tickets: Sequence[tuple[int, str]], *, per_s: float) -> None:
        """Let people come, be greeted and leave at once."""
        asyncio.run_coroutine_threadsafe(self._pass_by(tickets, per_s), self.loop).result()

    async def _pass_by(self, tickets: Sequence[tuple[int, str]], per_s: float) -> None:
        async def look(owner: int, ticket: str) -> None:
            person = Person(self, owner, ticket)
            _, line = await self.loop.create_connection(lambda: Connection(self, person), "127.0.0.1", self.port)
            await line.is_open
            self.passers_by += 1
            line.close()

        began, visits = self.loop.time(), []
        for count, visit in enumerate(tickets):
            await asyncio.sleep(max(0.0, began + count / per_s - self.loop.time()))
            visits.append(asyncio.ensure_future(look(*visit)))
        await asyncio.gather(*visits)

    def views(self) -> list[View]:
        """What all of them see now."""

        async def copied() -> list[View]:
            return [View(person.owner, dict(person.view)) for person in self.all]

        return asyncio.run_coroutine_threadsafe(copied(), self.loop).result()

    def leave(self) -> None:
        """Close all connections."""

        async def leave() -> None:
            self.are_leaving = True
            for stay in self._stays:
                stay.cancel()
            await asyncio.gather(*self._stays, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(leave(), self.loop).result()

    def close(self) -> None:
        """End the thread, and with it what is open."""
        self.leave()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(20)
        self.loop.close()

    def _keep(self, stay: Any) -> None:
        task = self.loop.create_task(stay)
        self._stays.add(task)
