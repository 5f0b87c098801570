"""The site under test, on each server in turn, and a client for each transport."""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import httpx
import pytest
from django.conf import settings as django_settings
from django.test import override_settings
from websockets.exceptions import ConnectionClosed

from telltale import brokers
from telltale.core.snapshot import Order
from telltale.testing.transports import Connect, TransportClient
from tests.servers import running
from tests.transports.sites import CLASSES, PATIENCE_S, ProcessSite, Site, in_a_thread

Serve = Callable[[str], ProcessSite]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that takes `site` on each kind of site; one that changes settings only in the tests' process.

    The tests of a module that has a `site` fixture of its own run on that.
    """
    if "site" in metafunc.fixturenames and not hasattr(metafunc.module, "site"):
        kinds = [*CLASSES, *([] if "settings" in metafunc.fixturenames else ["live server"])]
        metafunc.parametrize("site", kinds, indirect=True)


@pytest.fixture
def site(request: pytest.FixtureRequest, transactional_db: None) -> Iterator[Site]:
    """Plain uvicorn, uvicorn with the live protocols, or the live server in a process of its own."""
    kind = getattr(request, "param", "uvicorn")
    if kind in CLASSES:
        with in_a_thread(kind) as site:
            yield site
        return
    served: Serve = request.getfixturevalue("served")
    with publishing_to_processes():
        yield served(kind)


@contextlib.contextmanager
def publishing_to_processes() -> Iterator[None]:
    """Publish to all processes of this machine."""
    with override_settings(TELLTALE=django_settings.TELLTALE | {"BROKER": "local://"}):
        brokers.reset()
        yield
        brokers.reset()


@pytest.fixture(scope="session")
def served(django_db_setup: None) -> Iterator[Serve]:
    """`served(kind)`: a server process, the same for all tests; one that has ended is restarted."""
    with contextlib.ExitStack() as stack:
        sites: dict[str, ProcessSite] = {}

        def serve(kind: str) -> ProcessSite:
            if kind not in sites:
                sites[kind] = stack.enter_context(running(partial(ProcessSite.of, kind=kind)))
            if sites[kind].is_stopping:
                sites[kind].wait_for_exit(PATIENCE_S)
            if not sites[kind].is_alive:
                sites[kind].start()
            return sites[kind]

        yield serve


def bearer(ticket: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {ticket}"} if ticket else {}


Have = Mapping[str, Order] | None


class Client(TransportClient):
    """A client of any transport."""

    def wait_for_end(self) -> None:
        """Receive everything until the server closes the connection."""
        give_up_at = time.monotonic() + PATIENCE_S
        while not self.has_ended:
            left_s = give_up_at - time.monotonic()
            assert left_s > 0, f"The connection did not end. Received: {self.messages}"
            self.receive(left_s)

    def messages_within(self, duration_s: float) -> list[dict[str, Any]]:
        """Return the messages that come within this time, without pings."""
        count, end = len(self.messages), time.monotonic() + duration_s
        while (left_s := end - time.monotonic()) > 0 and not self.has_ended:
            with contextlib.suppress(TimeoutError):
                self.receive(left_s)
        return [message for message in self.messages[count:] if message["type"] != "ping"]


class SocketClient(Client):
    def __init__(self, site: Site, ticket: str, have: Have = None) -> None:
        super().__init__()
        self.stack = contextlib.ExitStack()
        self.socket = self.stack.enter_context(site.socket())
        with contextlib.suppress(ConnectionClosed):  # A draining server closes the socket at once.
            self.send(type="hello", v=1, ticket=ticket, have=have or {})

    def send(self, **message: Any) -> None:
        self.socket.send(json.dumps(message))

    def receive(self, timeout_s: float) -> None:
        try:
            message = json.loads(self.socket.recv(timeout_s))
        except ConnectionClosed:
            self.has_ended = True
            return
        self.messages.append(message)
        if "n" in message:
            with contextlib.suppress(ConnectionClosed):
                self.send(type="ack", n=message["n"])

    def close(self) -> None:
        self.stack.close()


class StreamClient(Client):
    def __init__(self, site: Site, ticket: str, have: Have = None) -> None:
        super().__init__()
        self.http = httpx.Client(timeout=PATIENCE_S)
        headers = {"Accept": "text/event-stream"} | bearer(ticket)
        request = self.http.build_request("POST", site.live, headers=headers, json={"have": have or {}})
        self.response = self.http.send(request, stream=True)
        self.lines = self.response.iter_lines()

    def receive(self, timeout_s: float) -> None:
        for line in self.lines:
            if line.startswith(("{", "data: ")):  # A refusal is plain JSON.
                self.messages.append(json.loads(line.removeprefix("data: ")))
                return
        self.has_ended = True

    def messages_within(self, duration_s: float) -> list[dict[str, Any]]:
        """Also close the client: a read of a stream can't be interrupted otherwise."""
        count = len(self.messages)
        thread = threading.Thread(target=self._receive_until_closed)
        thread.start()
        time.sleep(duration_s)
        self.close()
        thread.join(PATIENCE_S)
        return [message for message in self.messages[count:] if message["type"] != "ping"]

    def _receive_until_closed(self) -> None:
        with contextlib.suppress(httpx.HTTPError, httpx.StreamError, RuntimeError, OSError):
            while not self.has_ended:
                self.receive(PATIENCE_S)

    def close(self) -> None:
        self.response.close()
        self.http.close()


class PollingClient(Client):
    def __init__(self, site: Site, ticket: str, have: Have = None) -> None:
        super().__init__()
        self.http = httpx.Client(timeout=PATIENCE_S + 5)
        self.site, self.ticket = site, ticket
        self.have: dict[str, Any] = dict(have or {})
        self.seen: list[str] = []
        self.wait_s = 0.0

    def receive(self, timeout_s: float) -> None:
        headers = {"Accept": "application/json"} | bearer(self.ticket)
        body = {"have": self.have, "seen": self.seen, "wait_s": min(self.wait_s, timeout_s)}
        message = self.http.post(self.site.live, headers=headers, json=body).json()
        self.has_ended = message["type"] == "bye"
        self.wait_s = 2.0
        for snapshot in message.get("tasks", []):
            self.have[snapshot["id"]] = [snapshot["attempt"], snapshot["ended"], snapshot["seq"]]
        self.seen += [notice["id"] for notice in message.get("notices", [])]
        has_news = any(message.get(name) for name in ("tasks", "notices", "events"))
        if has_news or not self.messages or self.has_ended:
            self.messages.append(message)

    def close(self) -> None:
        self.http.close()


CLIENTS: Mapping[str, Callable[..., Client]] = {
    "polling": PollingClient,
    "sse": StreamClient,
    "websocket": SocketClient,
}
"""By the name of the transport."""


@pytest.fixture
def connect_socket(site: Site) -> Iterator[Connect]:
    yield from connecting(site, SocketClient)


def connecting(site: Site, client_class: Callable[..., Client]) -> Iterator[Connect]:
    """Yield a function that connects clients, and close them at the end."""
    clients: list[Client] = []

    def connect(ticket: str, have: Have = None) -> Client:
        clients.append(client_class(site, ticket, have))
        return clients[-1]

    yield connect
    for client in clients:
        with contextlib.suppress(Exception):
            client.close()
