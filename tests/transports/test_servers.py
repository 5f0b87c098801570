"""What a client needs of whichever ASGI server the site runs on, held over each as a real process."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

import telltale
from telltale.core.topics import task_topic
from telltale.live import tickets
from tests.factories import moved, started, task_of
from tests.transports.conftest import KINDS, Hearing, bearer, publishing_to_processes
from tests.transports.sites import COMMANDS, ProcessSite, until
from tests.transports.slow import is_cut, slow_socket, slow_stream

pytestmark = pytest.mark.service

ENDS_WITHIN_S = 15.0
"""After SIGTERM, with clients there: what the servers are told to wait, and the slowness of a test's machine."""

TELL_BY_CANCELLING = {"hypercorn"}
"""Each client's coroutine alone learns of the end there, so nobody knows how many clients are sent away."""

NEVER_PUSH_BACK = {"daphne"}
"""It takes whatever is sent, and keeps it: a stream, which has no way back, can't be seen to be slow there."""


@pytest.fixture(params=list(COMMANDS))
def server(request: pytest.FixtureRequest, served: Callable[[str], ProcessSite], transactional_db: None) -> Any:
    with publishing_to_processes():
        yield served(request.param)


@pytest.fixture
def opens(server: ProcessSite) -> Iterator[Callable[..., Any]]:
    """`opens(transport, ticket)`: a client, which leaves at the end."""
    with ExitStack() as stack:

        def opens(transport: str, ticket: str) -> Hearing:
            client = KINDS[transport](server, ticket)
            stack.callback(client.close)
            return client

        yield opens


STREAMS = pytest.mark.parametrize("transport", ["websocket", "sse"])
ALL = pytest.mark.parametrize("transport", sorted(KINDS))


@ALL
def test_hello_and_every_newer_state_are_heard(opens: Any, transport: str) -> None:
    task = task_of()
    heard = opens(transport, tickets.issue([task_topic(task.pk)]))
    assert heard.task(task.pk)["state"] == "queued"
    moved(started(task), 0.25, seq=2)
    assert heard.task(task.pk, lambda s: s["seq"] == 2)["progress"]["fraction"] == 0.25


@ALL
@pytest.mark.parametrize(("ticket", "code"), [("", 4401), ("nonsense", 4401)])
def test_a_refusal_says_why(opens: Any, transport: str, ticket: str, code: int) -> None:
    assert opens(transport, ticket).type("bye")["code"] == code


@pytest.mark.parametrize("accept", ["text/event-stream", "application/json"])
def test_a_refusal_has_its_http_status(server: ProcessSite, accept: str) -> None:
    def status(ticket: str, **more: Any) -> int:
        headers = {"Accept": accept} | bearer(ticket)
        return httpx.post(server.live, headers=headers, timeout=20, **more).status_code

    good = tickets.issue(["project:7"])
    assert status("") == status("nonsense") == status(tickets.issue(["project:7"], ttl_s=-1)) == 401
    assert status(good, content=b"{") == status(good, json={"have": "much"}) == 400
    assert httpx.put(server.live, timeout=20).status_code == 405


@STREAMS
def test_a_ticket_that_runs_out_ends_it_and_says_come_back(opens: Any, transport: str, server: ProcessSite) -> None:
    heard = opens(transport, tickets.issue(["project:7"], ttl_s=1.5))
    bye = heard.type("bye")
    assert (bye["code"], bye["again"]) == (4402, "at once")
    heard.ends()
    until(lambda: server.connection_count() == 0, "the server has let go of it")


def test_a_renewed_ticket_lets_the_socket_live_on(opens: Any) -> None:
    task = task_of()
    heard = opens("websocket", tickets.issue([task_topic(task.pk)], ttl_s=2.0))
    heard.task(task.pk)
    heard.say(type="ticket", ticket=tickets.issue([task_topic(task.pk)], ttl_s=60))
    time.sleep(2.5)
    moved(started(task), 0.5, seq=2)
    assert heard.task(task.pk, lambda s: s["seq"] == 2)


@STREAMS
def test_who_leaves_is_let_go_of(opens: Any, transport: str, server: ProcessSite) -> None:
    until(lambda: server.connection_count() == 0, "all earlier clients are gone")
    heard = opens(transport, tickets.issue(["project:7"]))
    heard.type("hello")
    assert server.connection_count() == 1
    heard.close()
    until(lambda: server.connection_count() == 0, "the server has let go of it")


def test_one_person_has_so_many_connections_and_no_more(opens: Any) -> None:
    ticket = tickets.issue(["user:1"], follower="user:1")
    for _ in range(3):
        opens("websocket", ticket).type("hello")
    assert opens("websocket", ticket).type("bye")["code"] == 4429


def test_the_sites_own_sockets_are_served_beside_it(server: ProcessSite) -> None:
    if server.is_live_server:
        with pytest.raises(Exception, match="403"), connect(f"ws://127.0.0.1:{server.port}/echo/"):
            pass
        return
    with connect(f"ws://127.0.0.1:{server.port}/echo/", open_timeout=20) as socket:
        socket.send("Who is there?")
        assert socket.recv(20) == "Who is there?"


def test_who_does_not_read_is_cut_and_nobody_else_notices(opens: Any, server: ProcessSite) -> None:
    until(lambda: server.connection_count() == 0, "all earlier clients are gone")
    reader = opens("websocket", tickets.issue(["project:7"]))
    reader.type("hello")
    makes = [slow_socket] if server.kind in NEVER_PUSH_BACK else [slow_socket, slow_stream]
    with ExitStack() as stack:
        slow = [stack.enter_context(make(server, "project:7")) for make in makes]
        with much_is_published("project:7"):
            until(lambda: _hears_on(reader) and server.connection_count() == 1, "the slow ones are cut", 50)
        assert all(is_cut(line) for line in slow)


def _hears_on(reader: Hearing) -> bool:
    """Takes in all that has come, so that it is not slow itself."""
    reader.messages.clear()
    reader.quiet(0.2)
    assert not reader.ended, reader.messages
    return any(message["type"] == "update" for message in reader.messages)


@contextmanager
def much_is_published(topic: str) -> Iterator[None]:
    """More than any socket's buffers take, for as long as it is needed."""
    over = threading.Event()

    def publish() -> None:
        while not over.wait(0.01):
            telltale.publish(topic, "chapter", {"text": "x" * 8_000})

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_a_server_that_is_told_to_end_says_so_to_all_and_ends_though_some_stay(opens: Any, server: ProcessSite) -> None:
    heard = [opens(transport, tickets.issue(["project:7"])) for transport in ("websocket", "sse", "websocket")]
    for one in heard:
        one.type("hello")
    with slow_socket(server, "project:7") as stays:  # and answers no closing frame
        server.goes_away()
        for one in heard:
            bye = one.type("bye")
            assert (bye["code"], bye["again"]) == (4000, "later")
            assert bye.get("within_s", 0) >= (0 if server.kind in TELL_BY_CANCELLING else 1)
        server.ends_within(ENDS_WITHIN_S)
        assert is_cut(stays)
    assert "src/telltale/" not in server.said(), server.said()
