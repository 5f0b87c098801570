"""Requests to the HTTP API in this process: a real server, called over ASGI, and its clients' messages."""

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Coroutine, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, unquote

from telltale.pusher.protocol.close_codes import Code
from telltale.pusher.pusher_apps import PusherApp
from telltale.pusher.server.api.http_api import http_api
from telltale.pusher.server.clients.client import PusherClient
from telltale.pusher.server.server import PusherServer

MAIN: Final = {"ID": "1", "KEY": "main-key", "SECRET": "main-secret"}
OTHER: Final = {"ID": "2", "KEY": "other-key", "SECRET": "other-secret"}
DISABLED: Final = {"ID": "3", "KEY": "disabled-key", "SECRET": "disabled-secret", "IS_ENABLED": False}

Event = MutableMapping[str, Any]
App = dict[str, Any]


def run(test: Callable[[PusherServer], Coroutine[Any, Any, None]]) -> None:
    """Run a test with a server on an event loop of its own."""

    async def with_server() -> None:
        server = PusherServer()
        try:
            await test(server)
        finally:
            await server.close()

    asyncio.run(with_server())


def signed(
    method: str, path: str, body: bytes = b"", *, app: App = MAIN, age_s: float = 0, **parameters: str
) -> dict[str, str]:
    """Return the whole query of a request, with its signature."""
    query = {"auth_key": app["KEY"], "auth_timestamp": f"{time.time() - age_s:.0f}", "auth_version": "1.0"}
    if body:
        query["body_md5"] = hashlib.md5(body, usedforsecurity=False).hexdigest()
    query |= parameters
    text = "\n".join([method, path, "&".join(f"{name}={query[name]}" for name in sorted(query))])
    return {**query, "auth_signature": hmac.new(app["SECRET"].encode(), text.encode(), hashlib.sha256).hexdigest()}


@dataclass(frozen=True)
class Answer:
    """What the API answered, and how much of the body it had asked for."""

    status: int
    headers: dict[str, str]
    content: Any
    received: int

    @property
    def error(self) -> str:
        """The text of a refusal, which tells no secret."""
        assert self.status >= 400, self.content
        text = str(self.content["error"])
        assert "-secret" not in text
        return text


class Body:
    """What a client sends: its parts one by one, and then nothing, or its disconnect."""

    def __init__(self, *parts: bytes, is_complete: bool = True, disconnects: bool = False) -> None:
        self._events: list[Event] = [
            {"type": "http.request", "body": part, "more_body": not is_complete or number < len(parts)}
            for number, part in enumerate(parts, 1)
        ]
        if disconnects:
            self._events.append({"type": "http.disconnect"})
        self.received = 0

    async def receive(self) -> Event:
        if not self._events:
            await asyncio.Event().wait()
        self.received += 1
        return self._events.pop(0)


async def send(
    server: PusherServer,
    method: str,
    path: str,
    query: dict[str, str] | bytes,
    body: Body | bytes = b"",
    *,
    mount: str = "",
    headers: Sequence[tuple[bytes, bytes]] = (),
    **scope: Any,
) -> Answer | None:
    """Send one request; None if the API does not answer. `path`: as it is sent, below the mount."""
    raw = query if isinstance(query, bytes) else "&".join(f"{k}={quote(v, safe='')}" for k, v in query.items()).encode()
    source = Body(body) if isinstance(body, bytes) else body
    whole = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "path": unquote(mount + path),
        "raw_path": (mount + path).encode(),
        "root_path": "",
        "query_string": raw,
        "headers": list(headers),
        **scope,
    }
    sent: list[Event] = []

    async def keep(event: Event) -> None:
        sent.append(event)

    await http_api(whole, source.receive, keep, server, unquote(path))
    if not sent:
        return None
    start, content = sent
    named = {name.decode(): value.decode() for name, value in start["headers"]}
    assert named["content-type"] == "application/json"
    assert int(named["content-length"]) == len(content["body"])
    return Answer(start["status"], named, json.loads(content["body"]), source.received)


async def get(server: PusherServer, path: str, *, app: App = MAIN, **parameters: str) -> Answer:
    """Ask; `path` is below the app's own."""
    address = f"/apps/{app['ID']}/{path}"
    answer = await send(server, "GET", address, signed("GET", address, app=app, **parameters))
    assert answer is not None
    return answer


async def post(server: PusherServer, path: str, content: Any, *, app: App = MAIN, **more: Any) -> Answer:
    """Publish or command; `path` is below the app's own."""
    address, body = f"/apps/{app['ID']}/{path}", json.dumps(content).encode()
    answer = await send(server, "POST", address, signed("POST", address, body, app=app), body, **more)
    assert answer is not None
    return answer


class RecordingOutlet:
    """The line of one client, which keeps what is written."""

    form: Callable[[str], str] = str

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.ended: Code | None = None

    def attach(self, client: PusherClient) -> None: ...

    def size(self, payload: str) -> int:
        return len(payload)

    def write(self, payload: str) -> None:
        self.texts.append(payload)

    def end(self, code: Code) -> None:
        self.ended = code

    def events(self) -> list[tuple[str, str, str]]:
        """Return the channels' own events: name, channel and data."""
        messages = [json.loads(text) for text in self.texts]
        return [
            (message["event"], message["channel"], message["data"])
            for message in messages
            if not message["event"].startswith(("pusher:", "pusher_internal:"))
        ]


def connect(server: PusherServer, app: PusherApp) -> tuple[PusherClient, RecordingOutlet]:
    """Return a new client of the app, and its line."""
    outlet = RecordingOutlet()
    return server.connect(app, outlet), outlet
