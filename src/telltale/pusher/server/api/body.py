"""The body of a request to the HTTP API: bounded in size and in time, and read to its end where that is possible.

A client that is still sending its body may not read an answer, so what is refused is read too, and dropped. Where
it is too much, the connection is closed after the answer.
"""

import asyncio
from collections.abc import Iterable
from typing import Final

from telltale.pusher.protocol.api_refusal import ApiRefusal
from telltale.transports.http import Disconnected, Receive

BODY_S: Final = 10.0
"""Time for a client to send its body."""

DISCARD_BYTES: Final = 1_048_576
"""A refused body is read, and dropped, up to this size."""


class RequestBody:
    """Reads the body of one request. Every method raises `Disconnected` if the client leaves."""

    def __init__(self, receive: Receive, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self._receive = receive
        self._announced = _announced_size(headers)
        self._give_up_at = asyncio.get_running_loop().time() + BODY_S
        self.is_complete = False
        """Whether all of it was read, so that the connection can serve further requests."""

    async def read(self, limit: int) -> bytes:
        """Return the body; raises `ApiRefusal` if it has more than `limit` bytes or does not arrive in time."""
        if self._announced > limit:
            raise _too_large(limit)
        body = bytearray()
        try:
            async with asyncio.timeout_at(self._give_up_at):
                while not self.is_complete:
                    body += await self._next()
                    if len(body) > limit:
                        raise _too_large(limit)
        except TimeoutError:
            raise ApiRefusal(408, f"The body of the request did not arrive within {BODY_S:.0f} s.") from None
        return bytes(body)

    async def discard(self) -> None:
        """Read and drop what remains, within the limits of size and time."""
        if self._announced > DISCARD_BYTES:
            return
        dropped = 0
        try:
            async with asyncio.timeout_at(self._give_up_at):
                while not self.is_complete and dropped <= DISCARD_BYTES:
                    dropped += len(await self._next())
        except TimeoutError:
            return

    async def _next(self) -> bytes:
        event = await self._receive()
        if event["type"] == "http.disconnect":
            raise Disconnected
        self.is_complete = not event.get("more_body", False)
        part: bytes = event.get("body", b"")
        return part


def _announced_size(headers: Iterable[tuple[bytes, bytes]]) -> int:
    """Return `Content-Length`; 0 if it is missing."""
    for name, value in headers:
        if name.lower() == b"content-length" and value.isdigit():
            return int(value)
    return 0


def _too_large(limit: int) -> ApiRefusal:
    return ApiRefusal(413, f"The body of the request has more than {limit:,} bytes, which is the most that is allowed.")
