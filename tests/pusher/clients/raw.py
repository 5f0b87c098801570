"""A WebSocket client without manners: it sends what no library would, and answers pings only if it is told to."""

import json
import socket
from collections.abc import Sequence
from typing import Any

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

PATIENCE_S = 30.0
QUERY = "protocol=7&client=js&version=8.6.0&flash=false"

Message = dict[str, Any]


class ClosedByServerError(AssertionError):
    """A closing frame came where a message was expected."""


class EndedWithoutClosing(AssertionError):
    """The server ended the connection, and its closing frame did not come."""


class RawClient:
    """Blocking, without a thread, so that a test can have hundreds."""

    def __init__(
        self, port: int, path: str, headers: Sequence[tuple[str, str]] = (), *, answers_pings: bool = True
    ) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        self.answers_pings = answers_pings
        self._protocol = ClientProtocol(parse_uri(f"ws://127.0.0.1:{port}{path}"), max_size=None)
        request = self._protocol.connect()
        for name, value in headers:
            request.headers[name] = value
        self._protocol.send_request(request)
        self._flush()
        self._parts: list[bytes] = []
        self.socket_id = ""
        self._frames: list[Frame] = []
        self.status = self._handshake()

    def _handshake(self) -> int:
        events: list[Any] = []
        while not events:
            data = self.socket.recv(65_536)
            assert data, "The connection ended during the handshake."
            self._protocol.receive_data(data)
            events = self._protocol.events_received()
        response, *self._frames = events
        return int(response.status_code)

    def establish(self) -> "RawClient":
        """Read the first message, and know one's own socket id."""
        self.socket_id = json.loads(self.expect("pusher:connection_established")["data"])["socket_id"]
        return self

    def send(self, event: str, data: Any = None, **more: Any) -> None:
        """Send an event; `more` are further fields, such as the channel."""
        self.send_text(json.dumps({"event": event, "data": {} if data is None else data, **more}))

    def send_text(self, *parts: str) -> None:
        """Send one message, in as many frames as there are parts."""
        for number, part in enumerate(parts):
            is_last = number == len(parts) - 1
            send = self._protocol.send_text if number == 0 else self._protocol.send_continuation
            send(part.encode(), fin=is_last)
        self._flush()

    def send_binary(self, data: bytes) -> None:
        self._protocol.send_binary(data)
        self._flush()

    def ping(self, payload: bytes) -> bytes:
        """Send a ping frame, and return the payload of the pong; messages that come before are dropped."""
        self._protocol.send_ping(payload)
        self._flush()
        while (frame := self._frame()).opcode is not Opcode.PONG:
            pass
        return bytes(frame.data)

    def subscribe(self, channel: str, auth: str | None = None, channel_data: str | None = None) -> Message:
        """Subscribe, and return the answer."""
        self.ask_for(channel, auth, channel_data)
        return self.message()

    def ask_for(self, channel: str, auth: str | None = None, channel_data: str | None = None) -> None:
        """Subscribe, without waiting for the answer."""
        fields = {"channel": channel, "auth": auth, "channel_data": channel_data}
        self.send("pusher:subscribe", {name: value for name, value in fields.items() if value is not None})

    def message(self) -> Message:
        """Return the next message; a connection that ends fails the test."""
        while True:
            frame = self._frame()
            if frame.opcode is Opcode.CLOSE:
                raise ClosedByServerError(bytes(frame.data))
            if frame.opcode in {Opcode.TEXT, Opcode.CONT}:
                self._parts.append(bytes(frame.data))
                if frame.fin:
                    text, self._parts = b"".join(self._parts), []
                    return dict(json.loads(text))

    def expect(self, event: str) -> Message:
        """Return the next message, which must be this event."""
        message = self.message()
        assert message["event"] == event, message
        return message

    def expect_error(self) -> Message | None:
        """Return the next message, which must be an error; None if the server closes the connection instead."""
        try:
            message = self.message()
        except ClosedByServerError:
            return None
        assert message["event"] in {"pusher:error", "pusher:subscription_error", "pusher:signin_error"}, message
        assert len(json.dumps(message["data"])) > 30, "An error has a text that helps."
        return message

    def refusal(self, channel: str) -> Message:
        """Return the data of the next message, which must refuse a subscription for its signature."""
        answer = self.expect("pusher:subscription_error")
        assert answer["channel"] == channel
        data = answer["data"]
        assert isinstance(data, dict)
        assert (data["type"], data["status"]) == ("AuthError", 401)
        assert len(data["error"]) > 20, "An error has a text that helps."
        return data

    def until(self, event: str) -> Message:
        """Return the next message with this event; those before are dropped."""
        while (message := self.message())["event"] != event:
            pass
        return message

    def expect_silence(self) -> None:
        """Fail if a message waits: the server answers in order, so the answer to a ping comes after it."""
        self.send("pusher:ping")
        self.expect("pusher:pong")

    def closing(self) -> tuple[int, str]:
        """Return code and reason of the closing frame; messages before it are dropped."""
        while (frame := self._frame()).opcode is not Opcode.CLOSE:
            pass
        return int.from_bytes(frame.data[:2], "big"), bytes(frame.data[2:]).decode()

    def _frame(self) -> Frame:
        while not self._frames:
            data = self.socket.recv(65_536)
            if not data:
                raise EndedWithoutClosing("The connection ended without a closing frame.")
            self._protocol.receive_data(data)
            self._frames += [event for event in self._protocol.events_received() if isinstance(event, Frame)]
            if self.answers_pings:
                self._flush()
            else:
                self._protocol.data_to_send()
        return self._frames.pop(0)

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self.socket.sendall(data)

    def close(self) -> None:
        """Say goodbye with a closing frame."""
        try:
            if self._protocol.state is State.OPEN:
                self._protocol.send_close(1000)
                self._flush()
        finally:
            self.socket.close()

    def vanish(self) -> None:
        """End the TCP connection without a closing frame."""
        self.socket.close()
