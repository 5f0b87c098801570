"""Polling: a question, and an answer when there is something newer, or when the time is up.

Reach: everything that speaks HTTP. Cost: a request an answer. Limits: an event that happens between two
questions is not heard (events are fire and forget; snapshots and notices are read again). Under ASGI the
answer is held (`polling`), under WSGI it comes at once (`web/views.py` uses `Answer`).
"""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any, Final

from telltale import conf
from telltale.core import reasons
from telltale.core.connection import Connection, Phase, Terms
from telltale.core.wire import VERSION, Malformed, encode
from telltale.transports.base import (
    Disconnected,
    Follower,
    Hello,
    Receive,
    Scope,
    Send,
    Server,
    answer,
    bearer,
    gone,
    header,
    read_body,
    refuse,
)

TERMS: Final = Terms(credit=None, pace_s=0.0)


@dataclass(slots=True)
class Answer:
    """What a connection has for its client, gathered into one message."""

    connection: Connection
    parts: dict[str, list[Any]] = field(default_factory=lambda: {"tasks": [], "notices": [], "events": []})

    def gather(self, now: float) -> bool:
        """Take what is pending; whether there is something to tell."""
        while (frame := self.connection.take(now)) is not None:
            message = json.loads(frame)
            for name, told in self.parts.items():
                told += message.get(name, [])
        return any(self.parts.values())

    def text(self, now: float, *, poll_after_s: float) -> str:
        """As it travels."""
        grant = self.connection.grant
        assert grant is not None  # noqa: S101 (admitted, or it would have been refused)
        return encode(
            {
                "type": "poll",
                "v": VERSION,
                "now": round(now, 3),
                "expires_at": grant.expires_at,
                "limits": dict(self.connection.limits),
                **self.parts,
                "poll_after_s": poll_after_s,
            }
        )


async def polling(scope: Scope, receive: Receive, send: Send, server: Server) -> None:
    """Answer one question; satisfies `Transport`."""
    follower = server.open(TERMS)
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
        holding = asyncio.ensure_future(_hold(follower, hello, send, server))
        leaving = asyncio.ensure_future(gone(receive))
        try:
            await asyncio.wait({holding, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if holding.done():
                holding.result()
        except OSError:
            pass  # It went while it was written to.
        finally:
            for one in (holding, leaving):
                one.cancel()
            await asyncio.gather(holding, leaving, return_exceptions=True)
    finally:
        server.leave(follower)


async def _hold(follower: Follower, hello: Hello, send: Send, server: Server) -> None:
    longest = conf.settings().long_poll_s
    until = server.now() + max(0.0, longest if hello.wait_s is None else min(hello.wait_s, longest))
    connection, told = follower.connection, Answer(follower.connection)
    while not told.gather(server.now()) and connection.closed is None:
        # Even who would not wait is answered from the store, so the snapshot's read comes first.
        is_read = connection.phase is Phase.LIVE
        if is_read and server.now() >= until:
            break
        await follower.wait(until=until if is_read else float("inf"))
    if connection.closed is not None and not any(told.parts.values()):
        return await refuse(send, connection)
    await answer(send, 200, told.text(server.now(), poll_after_s=0))
