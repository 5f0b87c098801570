"""The site that is tested, on each server in turn, and a client by hand for each transport."""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import httpx
import pytest
from django.conf import settings as django_settings
from django.test import override_settings
from websockets.exceptions import ConnectionClosed

from telltale import brokers
from tests.servers import running
from tests.transports.sites import CLASSES, PATIENCE_S, ProcessSite, Site, in_a_thread

Serve = Callable[[str], ProcessSite]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Whoever asks for a `site` is run on each; whoever changes settings, where that reaches the server.

    A file that has a `site` of its own is run on that.
    """
    if "site" in metafunc.fixturenames and not hasattr(metafunc.module, "site"):
        kinds = [*CLASSES, *([] if "settings" in metafunc.fixturenames else ["live server"])]
        metafunc.parametrize("site", kinds, indirect=True)


@pytest.fixture
def site(request: pytest.FixtureRequest, transactional_db: None) -> Iterator[Site]:
    """uvicorn as it comes, with the live protocols, or the live server as a process."""
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
    """What these tests publish is heard on all of this machine."""
    with override_settings(TELLTALE=django_settings.TELLTALE | {"BROKER": "local://"}):
        brokers.reset()
        yield
        brokers.reset()


@pytest.fixture(scope="session")
def served(django_db_setup: None) -> Iterator[Serve]:
    """`served(kind)`: a process that serves, the same for all tests; one that has ended begins anew."""
    with contextlib.ExitStack() as stack:
        sites: dict[str, ProcessSite] = {}

        def serve(kind: str) -> ProcessSite:
            if kind not in sites:
                sites[kind] = stack.enter_context(running(partial(ProcessSite.of, kind=kind)))
            if sites[kind].is_going:
                sites[kind].ends_within(PATIENCE_S)
            if not sites[kind].is_alive:
                sites[kind].start()
            return sites[kind]

        yield serve


class Hearing:
    """One client that hears, whatever the transport: `frames` so far, `until` something has come."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.ended = False

    def more(self, timeout_s: float) -> None:
        """Take in the next message; sets `ended` at the end."""
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    def until(self, is_it: Any, patience_s: float = PATIENCE_S) -> Any:
        """The first thing among all that was heard for which `is_it` is true."""
        end = time.monotonic() + patience_s
        seen = 0
        while True:
            for message in self.messages[seen:]:
                if is_it(message):
                    return message
            seen = len(self.messages)
            left = end - time.monotonic()
            assert left > 0, f"It never came. Heard: {self.messages}"
            assert not self.ended, f"The line ended first. Heard: {self.messages}"
            self.more(left)

    def ends(self) -> None:
        """Whatever else comes, the server ends it."""
        end = time.monotonic() + PATIENCE_S
        while not self.ended:
            left = end - time.monotonic()
            assert left > 0, f"It never ended. Heard: {self.messages}"
            self.more(left)

    def type(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.until(lambda m: m["type"] == name)
        return found

    def task(self, task_id: object, is_it: Any = lambda s: True) -> dict[str, Any]:
        """The task's first snapshot for which `is_it` is true."""
        here = lambda m: [s for s in m.get("tasks", []) if s["id"] == str(task_id) and is_it(s)]  # noqa: E731
        return here(self.until(here))[0]  # type: ignore[no-any-return]

    def quiet(self, for_s: float) -> list[dict[str, Any]]:
        """What comes within `for_s`, pings left out."""
        before, end = len(self.messages), time.monotonic() + for_s
        while (left := end - time.monotonic()) > 0 and not self.ended:
            with contextlib.suppress(TimeoutError):
                self.more(left)
        return [m for m in self.messages[before:] if m["type"] != "ping"]


def bearer(ticket: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {ticket}"} if ticket else {}


class BySocket(Hearing):
    def __init__(self, site: Site, ticket: str, have: Any = None) -> None:
        super().__init__()
        self.stack = contextlib.ExitStack()
        self.socket = self.stack.enter_context(site.socket())
        with contextlib.suppress(ConnectionClosed):  # a server that goes away does not wait for it
            self.say(type="hello", v=1, ticket=ticket, have=have or {})

    def say(self, **message: Any) -> None:
        self.socket.send(json.dumps(message))

    def more(self, timeout_s: float) -> None:
        try:
            message = json.loads(self.socket.recv(timeout_s))
        except ConnectionClosed:
            self.ended = True
            return
        self.messages.append(message)
        if "n" in message:
            with contextlib.suppress(ConnectionClosed):
                self.say(type="ack", n=message["n"])

    def close(self) -> None:
        self.stack.close()


class ByStream(Hearing):
    def __init__(self, site: Site, ticket: str, have: Any = None) -> None:
        super().__init__()
        self.http = httpx.Client(timeout=PATIENCE_S)
        headers = {"Accept": "text/event-stream"} | bearer(ticket)
        request = self.http.build_request("POST", site.live, headers=headers, json={"have": have or {}})
        self.answer = self.http.send(request, stream=True)
        self.lines = self.answer.iter_lines()

    def more(self, timeout_s: float) -> None:
        self.http.timeout = timeout_s
        for line in self.lines:
            if line.startswith("{"):
                self.messages.append(json.loads(line))
                return
            if line.startswith("data: "):
                self.messages.append(json.loads(line.removeprefix("data: ")))
                return
        self.ended = True

    def quiet(self, for_s: float) -> list[dict[str, Any]]:
        before = len(self.messages)
        reading = threading.Thread(target=self._read_on)
        reading.start()
        time.sleep(for_s)
        self.close()
        reading.join(PATIENCE_S)
        return [m for m in self.messages[before:] if m["type"] != "ping"]

    def _read_on(self) -> None:
        with contextlib.suppress(httpx.HTTPError, httpx.StreamError, RuntimeError, OSError):
            while not self.ended:
                self.more(PATIENCE_S)

    def close(self) -> None:
        self.answer.close()
        self.http.close()


class ByPolls(Hearing):
    def __init__(self, site: Site, ticket: str, have: Any = None) -> None:
        super().__init__()
        self.http = httpx.Client(timeout=PATIENCE_S + 5)
        self.site, self.ticket = site, ticket
        self.have: dict[str, Any] = have or {}
        self.seen: list[str] = []
        self.wait_s = 0.0

    def more(self, timeout_s: float) -> None:
        headers = {"Accept": "application/json"} | bearer(self.ticket)
        body = {"have": self.have, "seen": self.seen, "wait_s": min(self.wait_s, timeout_s)}
        answer = self.http.post(self.site.live, headers=headers, json=body)
        message = answer.json()
        self.ended = message["type"] == "bye"
        self.wait_s = 2.0
        for snapshot in message.get("tasks", []):
            self.have[snapshot["id"]] = [snapshot["attempt"], snapshot["ended"], snapshot["seq"]]
        self.seen += [notice["id"] for notice in message.get("notices", [])]
        if any(message.get(name) for name in ("tasks", "notices", "events")) or not self.messages or self.ended:
            self.messages.append(message)

    def close(self) -> None:
        self.http.close()


KINDS = {"websocket": BySocket, "sse": ByStream, "polling": ByPolls}


@pytest.fixture(params=sorted(KINDS))
def hears(request: Any, site: Site) -> Iterator[Any]:
    """`hears(ticket)`: a client, by each transport in turn."""
    yield from _opening(site, KINDS[request.param])


@pytest.fixture
def socket_hears(site: Site) -> Iterator[Any]:
    yield from _opening(site, BySocket)


@pytest.fixture
def stream_hears(site: Site) -> Iterator[Any]:
    yield from _opening(site, ByStream)


def _opening(site: Site, kind: Any) -> Iterator[Any]:
    opened: list[Hearing] = []

    def hears(ticket: str, have: Any = None) -> Hearing:
        opened.append(kind(site, ticket, have))
        return opened[-1]

    yield hears
    for one in opened:
        with contextlib.suppress(Exception):
            one.close()
