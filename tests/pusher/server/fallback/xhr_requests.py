"""Requests of the HTTP transports in the tests' own event loop, and a client that makes them."""

import asyncio
import itertools
import json
from typing import Any

from telltale.pusher.protocol.api_events import ApiEvent
from telltale.pusher.protocol.signatures import auth_token, subscription_text
from telltale.pusher.pusher_apps import PusherApp
from telltale.pusher.server.fallback.addresses import fallback_address
from telltale.pusher.server.fallback.http_transports import serve_fallback
from telltale.pusher.server.fallback.session import Session
from telltale.pusher.server.server import PusherServer
from tests.pusher.server.local_clients import APP, until

QUERY = b"protocol=7&client=js&version=8.6.0&t=1&n=1"

_numbers = itertools.count(10_000_000)


class Request:
    """One request, which a server answers in a task. A test may hold the line, as a client that does not read."""

    def __init__(self, server: PusherServer, path: str, body: bytes = b"", **scope: Any) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self._line_is_free = asyncio.Event()
        self._line_is_free.set()
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._events.put_nowait({"type": "http.request", "body": body})
        whole = {"type": "http", "method": "POST", "path": path, "headers": [], "query_string": QUERY, "scheme": "http"}
        address = fallback_address(path, "", "")
        assert address is not None, path
        self.task = asyncio.ensure_future(
            serve_fallback(whole | scope, self._events.get, self._send, server, address),
        )

    async def _send(self, message: Any) -> None:
        await self._line_is_free.wait()
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            self.body += message["body"]

    def hold(self) -> None:
        """Take nothing more."""
        self._line_is_free.clear()

    def let_go(self) -> None:
        """Take what comes."""
        self._line_is_free.set()

    async def leave(self) -> None:
        """Disconnect."""
        self._events.put_nowait({"type": "http.disconnect"})
        await self.over()

    async def over(self) -> "Request":
        """Wait for the end of the response."""
        await until(self.task.done)
        self.task.result()
        return self

    @property
    def is_over(self) -> bool:
        return self.task.done()

    @property
    def frames(self) -> list[str]:
        """The complete frames so far."""
        return self.body.decode().split("\n")[:-1]

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The messages so far."""
        return [json.loads(text) for frame in self.frames if frame[0] == "a" for text in json.loads(frame[1:])]

    @property
    def events(self) -> list[str]:
        """The names of all messages so far."""
        return [message["event"] for message in self.messages]


class XhrClient:
    """One session, whose requests may go to any server."""

    def __init__(self, app: PusherApp) -> None:
        self.app = app
        self.path = f"/app/{app.key}/123/{next(_numbers)}"
        self.socket_id = ""

    def poll(self, server: PusherServer) -> Request:
        return Request(server, f"{self.path}/xhr")

    def stream(self, server: PusherServer) -> Request:
        return Request(server, f"{self.path}/xhr_streaming")

    def session(self, server: PusherServer) -> Session | None:
        """Return the session at its server; None if it is unknown there."""
        return server.fallback.sessions.find((self.app.key, self.path.removeprefix(f"/app/{self.app.key}/")))

    async def waits(self, server: PusherServer) -> None:
        """Wait until a request waits for messages; `server` has the session."""
        await until(lambda: (session := self.session(server)) is not None and session.is_waiting)

    async def send_body(self, server: PusherServer, body: Any) -> int:
        """Send a body; return the status of the answer."""
        request = Request(
            server, f"{self.path}/xhr_send", body if isinstance(body, bytes) else json.dumps(body).encode()
        )
        return (await request.over()).status

    async def send(self, server: PusherServer, event: str, data: Any = None, **more: Any) -> int:
        """Send one event, as pusher-js does."""
        return await self.send_body(server, [json.dumps({"event": event, "data": data, **more})])

    async def open(self, server: PusherServer) -> "XhrClient":
        """Open the session by a poll."""
        poll = await self.poll(server).over()
        opened, *_ = poll.frames
        assert opened == "o{}", poll.body
        self.socket_id = json.loads(poll.messages[0]["data"])["socket_id"]
        return self

    async def subscribe(self, server: PusherServer, channel: str, **more: Any) -> None:
        """Subscribe, with a signature; the answer waits for a request that receives."""
        text = subscription_text(self.socket_id, channel, more.get("channel_data"))
        auth = auth_token(self.app.key, self.app.secret, text)
        assert await self.send(server, "pusher:subscribe", {"channel": channel, "auth": auth, **more}) == 204


def publish(server: PusherServer, channel: str, *data: str) -> None:
    """Publish events to a channel of the app."""
    server.publish(APP, [ApiEvent(name="e", channel=channel, data=text, socket_id=None) for text in data])


async def subscriber(server: PusherServer, channel: str = "private-x") -> XhrClient:
    """Return a client that was told of its subscription."""
    client = await XhrClient(APP).open(server)
    await client.subscribe(server, channel)
    assert (await client.poll(server).over()).events == ["pusher_internal:subscription_succeeded"]
    return client
