"""An HTTP proxy that refuses WebSockets, event streams or other requests, or buffers responses, as some proxies do."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from tests.fault_proxy import FaultProxy


def is_websocket(head: bytes) -> bool:
    return b"upgrade: websocket" in head.lower()


def is_event_stream(head: bytes) -> bool:
    return b"accept: text/event-stream" in head.lower()


def response(status: str, *headers: str) -> bytes:
    """Return an empty response with this status, such as "403 Forbidden"."""
    lines = [f"HTTP/1.1 {status}", "Content-Length: 0", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


class Proxy(FaultProxy):
    """An HTTP proxy that refuses requests, or holds answers back until they are complete, as some real ones do.

    Each request gets a connection of its own, so that the proxy sees every request.
    """

    def __init__(
        self,
        port: int,
        *refuses: Callable[[bytes], bool],
        buffers: Callable[[bytes], bool] | None = None,
        refusal: bytes | None = None,
        **more: Any,
    ) -> None:
        """`refuses`, `buffers`: whether a request with this head is answered by `refusal`, or its answer held back."""
        super().__init__(port, **more)
        self.refuses: Sequence[Callable[[bytes], bool]] = refuses
        self.buffers = buffers
        self.refusal = refusal or response("403 Forbidden")
        self.refused: list[bytes] = []
        self.passed: list[bytes] = []

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, first: bytes = b"", *, is_held: bool = False
    ) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if any(refuse(head) for refuse in self.refuses):
            self.refused.append(head)
            writer.write(self.refusal)
            await writer.drain()
            return
        self.passed.append(head)
        is_held = self.buffers is not None and self.buffers(head)
        await super()._carry(reader, writer, _without_keep_alive(head), is_held=is_held)


def _without_keep_alive(head: bytes) -> bytes:
    """Return the same head with a header that makes the server close the connection after its answer."""
    if is_websocket(head):
        return head
    request_line, *headers = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    kept = [line for line in headers if not line.lower().startswith(b"connection:")]
    return b"\r\n".join([request_line, b"Connection: close", *kept, b"", b""])
