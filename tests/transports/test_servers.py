"""What clients need of any ASGI server, tested on each as a real process."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

import telltale
from telltale.core.topics import task_topic
from telltale.live import tickets
from telltale.testing.transports import repeating
from tests.factories import moved, started, task_of
from tests.transports.conftest import CLIENTS, Client, bearer, publishing_to_processes
from tests.transports.sites import COMMANDS, ProcessSite, wait_until
from tests.transports.slow import is_cut, slow_socket, slow_stream

pytestmark = pytest.mark.service

EXITS_WITHIN_S = 40.0
"""After SIGTERM, with open connections: the servers' own limit, and some time for a slow machine."""

ANNOUNCE_SHUTDOWN_BY_CANCELLING = {"hypercorn"}
"""Only the coroutine of each client learns of the shutdown, so the number of drained clients is unknown."""

NEVER_PUSH_BACK = {"daphne"}
"""The server buffers everything: a slow reader of a stream, which sends no acknowledgements, can't be detected."""


@pytest.fixture(params=list(COMMANDS))
def server(request: pytest.FixtureRequest, served: Callable[[str], ProcessSite], transactional_db: None) -> Any:
    with publishing_to_processes():
        yield served(request.param)


@pytest.fixture
def connect_by(server: ProcessSite) -> Iterator[Callable[..., Any]]:
    """`connect_by(transport, ticket)`: a client, which is closed at the end."""
    with ExitStack() as stack:

        def connect_by(transport: str, ticket: str) -> Client:
            client = CLIENTS[transport](server, ticket)
            stack.callback(client.close)
            return client

        yield connect_by


STREAMS = pytest.mark.parametrize("transport", ["websocket", "sse"])
ALL = pytest.mark.parametrize("transport", sorted(CLIENTS))


@ALL
def test_the_stored_snapshot_and_every_newer_one_are_received(connect_by: Any, transport: str) -> None:
    task = task_of()
    client = connect_by(transport, tickets.issue([task_topic(task.pk)]))
    assert client.snapshot(task.pk)["state"] == "queued"
    moved(started(task), 0.25, seq=2)
    assert client.snapshot(task.pk, lambda s: s["seq"] == 2)["progress"]["fraction"] == 0.25


@ALL
@pytest.mark.parametrize(("ticket", "code"), [("", 4401), ("nonsense", 4401)])
def test_a_refusal_names_the_reason(connect_by: Any, transport: str, ticket: str, code: int) -> None:
    assert connect_by(transport, ticket).message("bye")["code"] == code


@pytest.mark.parametrize("accept", ["text/event-stream", "application/json"])
def test_a_refusal_has_its_http_status(server: ProcessSite, accept: str) -> None:
    def status(ticket: str, **more: Any) -> int:
        headers = {"Accept": accept} | bearer(ticket)
        return httpx.post(server.live, headers=headers, timeout=20, **more).status_code

    ticket = tickets.issue(["project:7"])
    assert status("") == status("nonsense") == status(tickets.issue(["project:7"], ttl_s=-1)) == 401
    assert status(ticket, content=b"{") == status(ticket, json={"have": "much"}) == 400
    assert httpx.put(server.live, timeout=20).status_code == 405


@STREAMS
def test_an_expired_ticket_closes_the_connection_and_the_client_may_return_at_once(
    connect_by: Any, transport: str, server: ProcessSite
) -> None:
    client = connect_by(transport, tickets.issue(["project:7"], ttl_s=1.5))
    bye = client.message("bye")
    assert (bye["code"], bye["again"]) == (4402, "at once")
    client.wait_for_end()
    wait_until(lambda: server.connection_count() == 0, "the server has forgotten the client")


def test_a_renewed_ticket_keeps_the_socket_open(connect_by: Any) -> None:
    task = task_of()
    client = connect_by("websocket", tickets.issue([task_topic(task.pk)], ttl_s=4.0))
    client.snapshot(task.pk)
    client.send(type="ticket", ticket=tickets.issue([task_topic(task.pk)], ttl_s=60))
    time.sleep(4.1)
    moved(started(task), 0.5, seq=2)
    assert client.snapshot(task.pk, lambda s: s["seq"] == 2)


@STREAMS
def test_a_client_that_disconnects_is_forgotten(connect_by: Any, transport: str, server: ProcessSite) -> None:
    wait_until(lambda: server.connection_count() == 0, "all earlier clients have left")
    client = connect_by(transport, tickets.issue(["project:7"]))
    client.message("hello")
    assert server.connection_count() == 1
    client.close()
    wait_until(lambda: server.connection_count() == 0, "the server has forgotten the client")


def test_connections_of_one_person_are_limited(connect_by: Any) -> None:
    ticket = tickets.issue(["user:1"], follower="user:1")
    for _ in range(3):
        connect_by("websocket", ticket).message("hello")
    assert connect_by("websocket", ticket).message("bye")["code"] == 4429


def test_the_sites_own_sockets_are_served_too(server: ProcessSite) -> None:
    if server.is_live_server:
        with pytest.raises(Exception, match="403"), connect(f"ws://127.0.0.1:{server.port}/echo/"):
            pass
        return
    with connect(f"ws://127.0.0.1:{server.port}/echo/", open_timeout=20) as socket:
        socket.send("Hello")
        assert socket.recv(20) == "Hello"


def test_f33_a_client_that_stops_reading_is_closed_and_others_are_unaffected(
    connect_by: Any, server: ProcessSite
) -> None:
    wait_until(lambda: server.connection_count() == 0, "all earlier clients have left")
    reader = connect_by("websocket", tickets.issue(["project:7"]))
    reader.message("hello")
    connects = [slow_socket] if server.kind in NEVER_PUSH_BACK else [slow_socket, slow_stream]
    with ExitStack() as stack:
        lines = [stack.enter_context(connect_slow(server, "project:7")) for connect_slow in connects]
        with publishing_much("project:7"):
            wait_until(
                lambda: _receives_updates(reader) and server.connection_count() == 1, "the slow clients are closed", 120
            )
        assert all(is_cut(line) for line in lines)


def _receives_updates(reader: Client) -> bool:
    """Whether updates came; reads all that has come, so that this client is not slow itself."""
    reader.messages.clear()
    reader.messages_within(0.2)
    assert not reader.has_ended, reader.messages
    return any(message["type"] == "update" for message in reader.messages)


def publishing_much(topic: str) -> AbstractContextManager[None]:
    """Publish more than the buffers of any socket hold."""
    return repeating(lambda: telltale.publish(topic, "chapter", {"text": "x" * 8_000}), 0.01)


def test_f37_a_server_that_is_told_to_stop_closes_all_clients_and_exits_although_some_stay(
    connect_by: Any, server: ProcessSite
) -> None:
    clients = [connect_by(transport, tickets.issue(["project:7"])) for transport in ("websocket", "sse", "websocket")]
    for client in clients:
        client.message("hello")
    with slow_socket(server, "project:7") as staying:  # It answers no closing frame.
        server.begin_shutdown()
        for client in clients:
            bye = client.message("bye")
            assert (bye["code"], bye["again"]) == (4000, "later")
            assert bye.get("within_s", 0) >= (0 if server.kind in ANNOUNCE_SHUTDOWN_BY_CANCELLING else 1)
        server.wait_for_exit(EXITS_WITHIN_S)
        assert is_cut(staying)
    assert "src/telltale/" not in server.output(), server.output()
