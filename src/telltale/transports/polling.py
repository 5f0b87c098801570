"""Polling: a request, and a response when there is something newer or the wait is over.

Reach: everything that speaks HTTP. Cost: a request for each response. Limits: an event that happens between two
requests is lost (events are sent once; snapshots and notices are read again). Under ASGI the response is held back
until there is news (`polling`); under WSGI it is made at once (`response_text`, for `pages/views.py`).
"""

import asyncio
import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Final

from telltale import conf
from telltale.core.connection import Connection
from telltale.core.health import Limits
from telltale.core.policy import ConnectionPolicy, Grant, Phase
from telltale.core.protocol import VERSION
from telltale.core.wire import Envelope, encode
from telltale.transports.base import Client, Hello, TransportHost, admit_or_refuse, send_refusal
from telltale.transports.http import (
    Disconnected,
    LiveRequest,
    Receive,
    Send,
    respond_unless_disconnected,
    send_response,
)

POLICY: Final = ConnectionPolicy(credit=None, pace_s=0.0)


class PollResponse:
    """The frames of a connection, gathered into one message."""

    def __init__(self) -> None:
        self._parts: dict[str, list[Any]] = {"tasks": [], "notices": [], "events": []}
        self._corrected: list[str] = []

    def add(self, frame: str) -> None:
        """Add the content of one frame."""
        message = json.loads(frame)
        for name, items in self._parts.items():
            items += message.get(name, [])
        self._corrected += message.get("corrected", [])

    @property
    def has_news(self) -> bool:
        """Whether it holds a snapshot, a notice or an event."""
        return any(self._parts.values())

    def text(self, connection: Connection, now: float, *, poll_after_s: float) -> str:
        """Return the message as it is sent; `poll_after_s`: seconds until the client's next request."""
        grant = connection.grant
        assert grant is not None  # noqa: S101 (admitted, or it would have been refused)
        return encode(
            {
                "type": "poll",
                "v": VERSION,
                "now": round(now, 3),
                "expires_at": grant.expires_at,
                "limits": connection.limits.to_json(),
                **self._parts,
                **({"corrected": self._corrected} if self._corrected else {}),
                "poll_after_s": poll_after_s,
            }
        )


def response_text(
    grant: Grant, hello: Hello, envelopes: Iterable[Envelope], *, limits: Limits, now: float, poll_after_s: float
) -> str:
    """Return the message for a request that is answered at once, from what was just read from the store."""
    connection = Connection(opened_at=now, policy=POLICY, limits=limits)
    connection.admit(grant, have=hello.have, seen=hello.seen, now=now)
    connection.catch_up(envelopes)
    response = PollResponse()
    while (frame := connection.take(now)) is not None:
        response.add(frame)
    return response.text(connection, now, poll_after_s=poll_after_s)


class PollOutlet:
    """The outlet of a response that is held back; satisfies `Outlet`."""

    form: Callable[[str], str] = str

    def __init__(self) -> None:
        self.response = PollResponse()
        self._changed = asyncio.Event()

    def write(self, frame: str) -> None:
        """Add the frame to the response."""
        self.response.add(frame)
        self._changed.set()

    def end(self) -> None:
        """Wake `wait`: the connection was closed."""
        self._changed.set()

    async def wait(self, timeout_s: float | None) -> None:
        """Return when a frame was written or the connection was closed, or after `timeout_s` (None: no limit)."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), timeout_s)
        self._changed.clear()


async def polling(request: LiveRequest, receive: Receive, send: Send, host: TransportHost) -> None:
    """Answer one request; satisfies `Transport`."""
    outlet = PollOutlet()
    client = host.open(POLICY, outlet, request.address)
    try:
        hello = await admit_or_refuse(client, request, receive, send)
        if hello is not None:
            await respond_unless_disconnected(_respond(client, outlet, hello, send, host), receive)
    except Disconnected:
        pass
    finally:
        client.leave()


async def _respond(client: Client, outlet: PollOutlet, hello: Hello, send: Send, host: TransportHost) -> None:
    connection, max_wait_s = client.connection, conf.settings().long_poll_s
    monotonic = asyncio.get_running_loop().time
    respond_at = monotonic() + max(0.0, max_wait_s if hello.wait_s is None else min(hello.wait_s, max_wait_s))
    while not outlet.response.has_news and connection.closed is None:
        # Even a client that would not wait is answered from the store, so the read of its snapshots comes first.
        is_read = connection.phase is Phase.LIVE
        if is_read and monotonic() >= respond_at:
            break
        await outlet.wait(max(0.0, respond_at - monotonic()) if is_read else None)
    if connection.closed is not None and not outlet.response.has_news:
        return await send_refusal(send, connection)
    await send_response(send, 200, outlet.response.text(connection, host.now(), poll_after_s=0))
