"""Clients of a server in the tests' own event loop: what is written to them is kept in a list."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from telltale.pusher.protocol.api_events import ApiEvent
from telltale.pusher.protocol.close_codes import Code
from telltale.pusher.protocol.signatures import auth_token, sign_in_text, subscription_text
from telltale.pusher.pusher_apps import PusherApp
from telltale.pusher.server.clients.client import PusherClient
from telltale.pusher.server.clients.client_messages import receive
from telltale.pusher.server.server import PusherServer

PATIENCE_S = 20.0

APP = PusherApp(id="1", key="key-1", secret="secret-1")
OTHER_APP = PusherApp(id="2", key="key-2", secret="secret-2")

ServerTest = Callable[[PusherServer], Awaitable[None]]


class KeepingOutlet:
    """Satisfies `Outlet`: it keeps what is written, and is full when a test says so."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.code: Code | None = None
        self.is_full = False
        self.client: PusherClient | None = None

    def attach(self, client: PusherClient) -> None:
        self.client = client

    @staticmethod
    def form(text: str) -> str:
        return text

    @staticmethod
    def size(payload: str) -> int:
        return len(payload)

    def write(self, payload: str) -> None:
        assert self.code is None, f"{payload} was written after the closing frame"
        self.texts.append(payload)
        if self.is_full and self.client is not None:
            self.client.block()

    def end(self, code: Code) -> None:
        assert self.code is None, "A connection is closed once."
        self.code = code


class Host:
    """A host with a clock that stands still, which notes the clients that leave."""

    def __init__(self) -> None:
        self.time = 1_000.0
        self.gone: list[PusherClient] = []

    def now(self) -> float:
        return self.time

    def disconnect(self, client: PusherClient) -> None:
        self.gone.append(client)


class LocalClient:
    """A client, as a test uses it."""

    def __init__(self, server: PusherServer, app: PusherApp = APP, address: str = "") -> None:
        self.app, self.outlet = app, KeepingOutlet()
        self.client = server.connect(app, self.outlet, address=address)
        self.socket_id = self.client.socket_id

    def send(self, event: str, data: Any = None, **more: Any) -> None:
        receive(self.client, json.dumps({"event": event, "data": data, **more}))

    def subscribe(self, channel: str, **more: Any) -> None:
        """Subscribe; sign what needs a signature, unless `auth` is given."""
        text = subscription_text(self.socket_id, channel, more.get("channel_data"))
        data = {"auth": auth_token(self.app.key, self.app.secret, text)} | {"channel": channel} | more
        self.send("pusher:subscribe", data)

    def join(self, channel: str, user_id: Any, info: Any = None) -> None:
        """Subscribe to a presence channel as this user."""
        self.subscribe(channel, channel_data=json.dumps({"user_id": user_id, "user_info": info}))

    def sign_in(self, **user: Any) -> None:
        user_data = json.dumps(user)
        token = auth_token(self.app.key, self.app.secret, sign_in_text(self.socket_id, user_data))
        self.send("pusher:signin", {"user_data": user_data, "auth": token})

    def take(self) -> list[dict[str, Any]]:
        """Return all messages since the last call; `data` is decoded where it is JSON text of the protocol."""
        found = [json.loads(text) for text in self.outlet.texts]
        self.outlet.texts.clear()
        for message in found:
            if message["event"].startswith(("pusher:", "pusher_internal:")) and isinstance(message.get("data"), str):
                message["data"] = json.loads(message["data"])
        return found

    def events(self) -> list[str]:
        """Return the names of all messages since the last call."""
        return [message["event"] for message in self.take()]


@asynccontextmanager
async def serving() -> Any:
    """A server in the running loop, closed at the end."""
    server = PusherServer()
    try:
        yield server
    finally:
        await server.close()


def run(test: ServerTest) -> None:
    """Run a test with a server of its own."""

    async def with_server() -> None:
        async with serving() as server:
            await test(server)

    asyncio.run(with_server())


async def until(condition: Callable[[], object]) -> None:
    """Let the loop run until the condition holds."""
    give_up_at = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up_at, "Waited in vain."
        await asyncio.sleep(0.01)


def on_a_server(test: ServerTest) -> Callable[[], None]:
    """Make a test of a coroutine function that takes a server."""

    def run_test() -> None:
        run(test)

    run_test.__name__, run_test.__doc__ = test.__name__, test.__doc__
    return run_test


def connected(server: PusherServer, app: PusherApp = APP) -> LocalClient:
    """A client that has read the first message."""
    client = LocalClient(server, app)
    assert client.events() == ["pusher:connection_established"]
    return client


def subscribed(client: LocalClient, *channels: str) -> LocalClient:
    for channel in channels:
        client.subscribe(channel)
        assert "pusher_internal:subscription_succeeded" in client.events()
    return client


def api_event(channel: str, name: str = "happened", data: str = "{}", socket_id: str | None = None) -> ApiEvent:
    return ApiEvent(name=name, channel=channel, data=data, socket_id=socket_id)
