"""A client by hand, byte by byte: for what no library would send."""

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
        self.came = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def says(self, data: bytes | str) -> Self:
        self.socket.sendall(data.encode() if isinstance(data, str) else data)
        return self

    def asks(self, *headers: str, verb: str = "GET", version: str = "1.1", body: bytes = b"", path: str = "") -> Self:
        """A request for the live address, or for `path`."""
        lines = [f"{verb} {path or '/telltale/live/'} HTTP/{version}", f"Host: 127.0.0.1:{self.site.port}", *headers]
        return self.says("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    def hears(self, text: bytes) -> bytes:
        """All until `text`, which is included; what follows is kept."""
        while text not in self.came:
            data = self.socket.recv(65_536)
            assert data, f"It ended after {self.came!r}, before {text!r} came."
            self.came += data
        heard, _, self.came = self.came.partition(text)
        return heard + text

    def rest(self) -> bytes:
        """All until the server ends it."""
        while True:
            try:
                data = self.socket.recv(65_536)
            except ConnectionResetError:
                data = b""
            if not data:
                heard, self.came = self.came, b""
                return heard
            self.came += data


UPGRADE = ("Connection: Upgrade", "Upgrade: websocket", f"Sec-WebSocket-Key: {KEY}", "Sec-WebSocket-Version: 13")


class Socket(Line):
    """One that has shaken hands, and said its hello unless `topic` is None."""

    def __init__(self, site: Site, topic: str | None = "project:7", **more: Any) -> None:
        super().__init__(site)
        self.asks(*UPGRADE)
        assert b" 101 " in self.hears(b"\r\n\r\n")
        self.parser = Protocol(Side.CLIENT)
        self.parser.receive_data(self.came)
        self.frames: list[Frame] = []
        self.is_at_end = False
        if topic is not None:
            self.says(masked(hello(topic, **more)))
            assert self.message()["type"] == "hello"

    def frame(self) -> Frame | None:
        """The next one; None at the end of the line."""
        while not self.frames:
            self.frames += self.parser.events_received()  # type: ignore[arg-type]
            if self.frames or self.is_at_end:
                break
            try:
                data = self.socket.recv(65_536)
            except ConnectionResetError:
                data = b""
            self.is_at_end = not data
            if data:
                self.parser.receive_data(data)
        return self.frames.pop(0) if self.frames else None

    def message(self) -> dict[str, Any]:
        """The next text."""
        frame = self.frame()
        assert frame is not None
        assert frame.opcode is Opcode.TEXT, frame
        return dict(json.loads(bytes(frame.data)))

    def event(self) -> Any:
        """The next event's data."""
        while not (message := self.message()).get("events"):
            pass
        return message["events"][0]["data"]

    def closing(self) -> tuple[int, list[Any]]:
        """The close frame's code, and the messages before it; nothing may follow it."""
        messages: list[Any] = []
        while (frame := self.frame()) is not None and frame.opcode is not Opcode.CLOSE:
            messages.append(json.loads(bytes(frame.data)))
        assert frame is not None, f"It ended without a closing frame, after {messages}"
        return int.from_bytes(frame.data[:2], "big"), messages

    def words_and_closing(self) -> tuple[int, list[Any]]:
        """As `closing`, also where pongs come before it."""
        messages: list[Any] = []
        while (frame := self.frame()) is not None and frame.opcode is not Opcode.CLOSE:
            if frame.opcode is Opcode.TEXT:
                messages.append(json.loads(bytes(frame.data)))
        assert frame is not None, f"It ended without a closing frame, after {messages}"
        return int.from_bytes(frame.data[:2], "big"), messages


def hello(topic: str, **more: Any) -> bytes:
    """What a client says first."""
    return json.dumps({"type": "hello", "v": 1, "ticket": tickets.issue([topic], **more)}).encode()


def is_quiet(line: Line, for_s: float) -> bool:
    """Whether nothing comes, and the line stays."""
    line.socket.settimeout(for_s)
    try:
        line.came += (data := line.socket.recv(65_536))
    except TimeoutError:
        return True
    finally:
        line.socket.settimeout(PATIENCE_S)
    assert data, "It ended."
    return False


def pause() -> None:
    """So long that what was sent before is read apart from what follows."""
    time.sleep(0.05)
