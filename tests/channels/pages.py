"""Pages of a project with Channels, for tests on an event loop of their own: sockets to the project's consumers."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

from asgiref.sync import sync_to_async
from channels.testing import WebsocketCommunicator
from django.conf import settings as django_settings
from django.db import connections
from django.test import Client as Browser

from telltale.core.policy import Phase
from telltale.live.driver import close_driver, driver
from tests.channels.project import consumers

HOOK: Final = "tests.channels.project.may_follow"
PATIENCE_S: Final = 30.0


@partial(sync_to_async, thread_sensitive=False)  # Sync consumers use the sensitive one.
def in_thread(function: Callable[[], Any]) -> Any:
    """Do what uses the ORM."""
    try:
        return function()
    finally:
        connections.close_all()


async def until(condition: Callable[[], object], patience_s: float = PATIENCE_S) -> None:
    give_up_at = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < give_up_at, "Waited in vain."
        await asyncio.sleep(0.005)


async def until_live() -> None:
    """Wait until the broker is listened to and the snapshots were read: events before that are not for a follower."""
    await until(lambda: all(c.phase is Phase.LIVE for c in driver().hub.connections))


def cookies_of(user: Any = None) -> tuple[Browser, list[tuple[bytes, bytes]]]:
    """A browser with a session, and its headers."""
    browser = Browser()
    if user is not None:
        browser.force_login(user)
    else:
        session = browser.session
        session["seen"] = True
        session.save()
    key = browser.cookies[django_settings.SESSION_COOKIE_NAME].value
    return browser, [(b"cookie", f"{django_settings.SESSION_COOKIE_NAME}={key}".encode()), (b"host", b"testserver")]


class Page:
    """A page's socket to a consumer; remembers all that it received."""

    def __init__(self, path: str, headers: list[tuple[bytes, bytes]], application: Any = consumers) -> None:
        self.communicator = WebsocketCommunicator(application, path, headers)
        self.received: list[dict[str, Any]] = []

    async def connect(self) -> bool:
        await self.communicator.send_input({"type": "websocket.connect"})
        is_accepted = (await self.output(PATIENCE_S))["type"] == "websocket.accept"
        await until_live()
        return is_accepted

    async def output(self, patience_s: float) -> dict[str, Any]:
        """Return what the consumer sends next; raise at once what it raises."""
        queue, future = self.communicator.output_queue, self.communicator.future
        await until(lambda: future.done() or not queue.empty(), patience_s)
        return dict(await self.communicator.receive_output(1))

    async def send(self, **message: Any) -> None:
        await self.communicator.send_json_to(message)
        await self.until(lambda m: m.get("done") == message)
        await until_live()

    async def until(self, matches: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """Receive until a message matches, and return that."""
        give_up_at = time.monotonic() + PATIENCE_S
        while True:
            output = await self.output(give_up_at - time.monotonic())
            assert output["type"] == "websocket.send", output
            self.received.append(json.loads(output["text"]))
            if matches(self.received[-1]):
                return self.received[-1]

    async def task(self, matches: Callable[[dict[str, Any]], object] = bool) -> dict[str, Any]:
        found = await self.until(lambda m: "task" in m and matches(m["task"]))
        return dict(found["task"])

    async def silence(self, duration_s: float) -> bool:
        """Whether nothing comes within this time."""
        return bool(await self.communicator.receive_nothing(duration_s, 0.02))

    async def leave(self) -> None:
        await self.communicator.disconnect(timeout=PATIENCE_S)


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    """Run the scenario on an event loop of its own."""

    async def run_all() -> None:
        try:
            await scenario()
        finally:
            await close_driver()
            await in_thread(lambda: None)

    asyncio.run(run_all())


def run_with_page(
    kind: str, topics: str, headers: list[tuple[bytes, bytes]], scenario: Callable[[Page], Awaitable[None]]
) -> None:
    """Run the scenario with a page whose consumer follows these topics; at the end nothing may be held any more."""

    async def run_it() -> None:
        page = Page(f"/{kind}/{topics}/", headers)
        assert await page.connect()
        await scenario(page)
        await page.leave()
        assert driver().connection_count == 0
        assert driver().hub.topics == frozenset()

    run(run_it)
