"""Polling: a question, and an answer when there is something newer, or when the time is up.

Reach: everything that speaks HTTP. Cost: a request an answer. Limits: an event that happens between two
questions is not heard (events are fire and forget; snapshots and notices are read again). Under ASGI the
answer is held (`polling`), under WSGI it comes at once (`pages/views.py` uses `Answer`).
"""

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from telltale import conf
from telltale.core import reasons
from telltale.core.connection import Connection
from telltale.core.policy import ConnectionPolicy, Phase
from telltale.core.wire import VERSION, Malformed, encode
from telltale.transports.base import Hello, Server, refuse
from telltale.transports.http import (
    Disconnected,
    Receive,
    Scope,
    Send,
    address_of,
    answer,
    bearer,
    gone,
    header,
    read_body,
)

POLICY: Final = ConnectionPolicy(credit=None, pace_s=0.0)


class Answer:
    """What a connection has for its client, gathered into one message."""

    def __init__(self) -> None:
        self._parts: dict[str, list[Any]] = {"tasks": [], "notices": [], "events": []}

    def add(self, frame: str) -> None:
        """One frame that would be sent."""
        message = json.loads(frame)
        for name, told in self._parts.items():
            told += message.get(name, [])

    @property
    def is_worth_it(self) -> bool:
        """Whether there is something to tell."""
        return any(self._parts.values())

    def text(self, connection: Connection, now: float, *, poll_after_s: float) -> str:
        """As it travels."""
        grant = connection.grant
        assert grant is not None  # noqa: S101 (admitted, or it would have been refused)
        return encode(
            {
                "type": "poll",
                "v": VERSION,
                "now": round(now, 3),
                "expires_at": grant.expires_at,
                "limits": dict(connection.limits),
                **self._parts,
                "poll_after_s": poll_after_s,
            }
        )


class Held:
    """The outlet of an answer that is held: gathers what is written, and rings."""

    form: Callable[[str], str] = str

    def __init__(self) -> None:
        self.answer = Answer()
        self._news = asyncio.Event()

    def write(self, frame: str) -> None:
        """See the contract."""
        self.answer.add(frame)
        self._news.set()

    def end(self) -> None:
        """See the contract."""
        self._news.set()

    async def wait(self, patience_s: float | None) -> None:
        """Until something was written, or for so long (None: however long)."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), patience_s)
        self._news.clear()


async def polling(scope: Scope, receive: Receive, send: Send, server: Server) -> None:
    """Answer one question; satisfies `Transport`."""
    held = Held()
    follower = server.open(POLICY, held, address_of(scope))
    try:
        try:
            hello = Hello.from_body(await read_body(receive))
        except Malformed:
            follower.close(reasons.MALFORMED)
        except Disconnected:
            return
        else:
            follower.admit(bearer(header(scope, b"authorization")), hello.have, hello.seen)
        if follower.connection.closed:
            return await refuse(send, follower.connection)
        answering = asyncio.ensure_future(_answer(follower.connection, held, hello, send, server))
        leaving = asyncio.ensure_future(gone(receive))
        try:
            await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if answering.done():
                answering.result()
        except OSError:
            pass  # It went while it was written to.
        finally:
            for one in (answering, leaving):
                one.cancel()
            await asyncio.gather(answering, leaving, return_exceptions=True)
    finally:
        follower.leave()


async def _answer(connection: Connection, held: Held, hello: Hello, send: Send, server: Server) -> None:
    longest = conf.settings().long_poll_s
    until = server.now() + max(0.0, longest if hello.wait_s is None else min(hello.wait_s, longest))
    while not held.answer.is_worth_it and connection.closed is None:
        # Even who would not wait is answered from the store, so the snapshot's read comes first.
        is_read = connection.phase is Phase.LIVE
        if is_read and server.now() >= until:
            break
        await held.wait(max(0.0, until - server.now()) if is_read else None)
    if connection.closed is not None and not held.answer.is_worth_it:
        return await refuse(send, connection)
    await answer(send, 200, held.answer.text(connection, server.now(), poll_after_s=0))
