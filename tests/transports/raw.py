"""Clients that send raw bytes: for data that no library would send."""

import json
import socket
import time
from typing import Any, Self

from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol, Side

from telltale.live import tickets
from tests.transports.sites import PATIENCE_S, Site
from tests.transports.slow import KEY, masked


class Line:
    """A TCP connection to the site."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.socket = socket.create_connection(("127.0.0.1", site.port), timeout=PATIENCE_S)
        self.received = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes | str) -> Self:
        self.socket.sendall(data.encode() if isinstance(data, str) else data)
        return self

    def request(
        self, *headers: str, verb: str = "GET", version: str = "1.1", body: bytes = b"", path: str = ""
    ) -> Self:
        """Send a request for the live address, or for `path`."""
        lines = [f"{verb} {path or '/telltale/live/'} HTTP/{version}", f"Host: 127.0.0.1:{self.site.port}", *headers]
        return self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    def read_until(self, text: bytes) -> bytes:
        """Return all data up to and including `text`; what follows is kept."""
        while text not in self.received:
            data = self.socket.recv(65_536)
            assert data, f"The connection ended after {self.received!r}, before {text!r} came."
            self.received += data
        found, _, self.received = self.received.partition(text)
        return found + text

    def read_to_end(self) -> bytes:
        """Return all data until the server closes the connection."""
        while True:
            try:
                data = self.socket.recv(65_536)
            except ConnectionResetError:
                data = b""
            if not data:
                rest, self.received = self.received, b""
                return rest
            self.received += data


UPGRADE = ("Connection: Upgrade", "Upgrade: websocket", f"Sec-WebSocket-Key: {KEY}", "Sec-WebSocket-Version: 13")


class Socket(Line):
    """A WebSocket after its handshake, and after its hello unless `topic` is None."""

    def __init__(self, site: Site, topic: str | None = "project:7", **more: Any) -> None:
        super().__init__(site)
        self.request(*UPGRADE)
        assert b" 101 " in self.read_until(b"\r\n\r\n")
        self.parser = Protocol(Side.CLIENT)
        self.parser.receive_data(self.received)
        self.frames: list[Frame] = []
        self.has_ended = False
        if topic is not None:
            self.send(masked(hello(topic, **more)))
            assert self.message()["type"] == "hello"

    def frame(self) -> Frame | None:
        """Return the next frame; None at the end of the connection."""
        while not self.frames:
            self.frames += self.parser.events_received()  # type: ignore[arg-type]
            if self.frames or self.has_ended:
                break
            try:
                data = self.socket.recv(65_536)
            except ConnectionResetError:
                data = b""
            self.has_ended = not data
            if data:
                self.parser.receive_data(data)
        return self.frames.pop(0) if self.frames else None

    def message(self) -> dict[str, Any]:
        """Return the next text message."""
        frame = self.frame()
        assert frame is not None
        assert frame.opcode is Opcode.TEXT, frame
        return dict(json.loads(bytes(frame.data)))

    def event(self) -> Any:
        """Return the data of the next event."""
        while not (message := self.message()).get("events"):
            pass
        return message["events"][0]["data"]

    def closing(self) -> tuple[int, list[Any]]:
        """Return the code of the closing frame, and the messages before it."""
        messages: list[Any] = []
        while (frame := self.frame()) is not None and frame.opcode is not Opcode.CLOSE:
            messages.append(json.loads(bytes(frame.data)))
        assert frame is not None, f"The connection ended without a closing frame, after {messages}"
        return int.from_bytes(frame.data[:2], "big"), messages

    def texts_and_closing(self) -> tuple[int, list[Any]]:
        """As `closing`, also if pongs come before the closing frame."""
        messages: list[Any] = []
        while (frame := self.frame()) is not None and frame.opcode is not Opcode.CLOSE:
            if frame.opcode is Opcode.TEXT:
                messages.append(json.loads(bytes(frame.data)))
        assert frame is not None, f"The connection ended without a closing frame, after {messages}"
        return int.from_bytes(frame.data[:2], "big"), messages


def hello(topic: str, **more: Any) -> bytes:
    """Return the first message of a client."""
    return json.dumps({"type": "hello", "v": 1, "ticket": tickets.issue([topic], **more)}).encode()


def is_quiet(line: Line, for_s: float) -> bool:
    """Whether no data comes within this time and the connection stays open."""
    line.socket.settimeout(for_s)
    try:
        line.received += (data := line.socket.recv(65_536))
    except TimeoutError:
        return True
    finally:
        line.socket.settimeout(PATIENCE_S)
    assert data, "The connection ended."
    return False


def pause() -> None:
    """Wait until the server has read what was sent before."""
    time.sleep(0.05)
