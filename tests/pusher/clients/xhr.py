"""A blocking client of the HTTP transports, used as `RawClient` is. Its requests may go to several servers in turn."""

import itertools
import json
import secrets
from collections.abc import Iterator, Sequence
from typing import Any

import httpx

from telltale.pusher.server.fallback.frames import STREAM_CHARACTERS
from tests.pusher.clients.raw import PATIENCE_S, ClosedByServerError, Message

QUERY = "?protocol=7&client=js&version=8.6.0"


class XhrClient:
    """`transport`: "xhr" or "xhr_streaming"; `urls`: of servers, with the prefix before `/app`."""

    def __init__(self, urls: Sequence[str], key: str, transport: str) -> None:
        session = f"{secrets.randbelow(1_000)}/{secrets.token_hex(4)}"
        self.path = f"/app/{key}/{session}"
        self._addresses = itertools.cycle(f"{url}{self.path}" for url in urls)
        self._transport = transport
        self.receives_by_polls = transport == "xhr"
        self._http = httpx.Client(timeout=PATIENCE_S)
        self._stream: httpx.Response | None = None
        self._frames = self._receive()
        self._messages: list[str] = []
        self.socket_id = ""
        self.opened = 0
        """Opening frames so far."""
        self.requests = 0
        """Requests that receive, each counted once it is sent."""

    # Receiving -----------------------------------------------------------------------------------

    def _receive(self) -> Iterator[str]:
        """Yield frames, request after request."""
        while True:
            address = f"{next(self._addresses)}/{self._transport}{QUERY}"
            request = self._http.build_request("POST", address, extensions={"trace": self._count})
            self._stream = self._http.send(request, stream=True)
            assert self._stream.status_code == 200, self._stream.read()
            size = 0
            for line in self._stream.iter_lines():
                size += len(line) + 1
                yield line
            self._stream.close()
            assert self.receives_by_polls or size > STREAM_CHARACTERS, "The stream has ended."

    def _count(self, step: str, _details: object) -> None:
        """Called for each step of a request that receives."""
        if step == "http11.receive_response_headers.started":
            self.requests += 1

    def frame(self) -> str:
        """Return the next frame that is no heartbeat."""
        while (frame := next(self._frames)) == "h":
            self.send_body("[]")
        return frame

    def message(self) -> Message:
        """Return the next message; a session that is closed fails the test."""
        while not self._messages:
            frame = self.frame()
            if frame.startswith("c"):
                raise ClosedByServerError(frame)
            if frame == "o{}":
                self.opened += 1
                assert self.opened == 1, "The server has lost the session."
            else:
                self._messages += json.loads(frame[1:])
        return dict(json.loads(self._messages.pop(0)))

    def establish(self) -> "XhrClient":
        """Read the first message, and know one's own socket id."""
        self.socket_id = json.loads(self.expect("pusher:connection_established")["data"])["socket_id"]
        return self

    def expect(self, event: str) -> Message:
        """Return the next message, which must be this event."""
        message = self.message()
        assert message["event"] == event, message
        return message

    def until(self, event: str) -> Message:
        """Return the next message with this event; those before are dropped."""
        while (message := self.message())["event"] != event:
            pass
        return message

    def closing(self) -> int:
        """Return the code of the closing frame; messages before it are dropped."""
        while not (frame := self.frame()).startswith("c"):
            pass
        return int(json.loads(frame[1:])[0])

    # Sending -------------------------------------------------------------------------------------

    def send_body(self, body: str) -> int:
        """Send a body; return the status of the answer."""
        return self._http.post(f"{next(self._addresses)}/xhr_send", content=body).status_code

    def send(self, event: str, data: Any = None, **more: Any) -> None:
        """Send an event; `more` are further fields, such as the channel."""
        text = json.dumps({"event": event, "data": {} if data is None else data, **more})
        assert self.send_body(json.dumps([text])) == 204

    def subscribe(self, channel: str, auth: str | None = None, channel_data: str | None = None) -> Message:
        """Subscribe, and return the answer."""
        fields = {"channel": channel, "auth": auth, "channel_data": channel_data}
        self.send("pusher:subscribe", {name: value for name, value in fields.items() if value is not None})
        return self.message()

    def vanish(self) -> None:
        """End all connections."""
        if self._stream is not None:
            self._stream.close()
        self._http.close()
