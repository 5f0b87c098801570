"""Lines between clients and a server that are cut, slow or silent, and a server whose event loop stands still."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvloop

from telltale import messages, store
from telltale.core import reasons
from telltale.core.topics import task_topic
from telltale.live import tickets
from telltale.server import http_protocol, websocket_protocol
from telltale.testing.transports import repeating
from telltale.transports import sse, websocket
from tests.factories import moved, started, task_of
from tests.fault_proxy import RESET, FaultProxy
from tests.faults.conftest import Converges
from tests.load.followers import Followers
from tests.server.test_slow_clients import all_tasks_change, the_driver
from tests.transports.conftest import CLIENTS
from tests.transports.raw import Socket
from tests.transports.sites import ThreadSite, in_a_thread, wait_until
from tests.transports.slow import masked, slow_socket, slow_stream

pytestmark = pytest.mark.service

TOPIC = "project:7"
LONG = pytest.mark.fault
STREAMS = pytest.mark.parametrize("transport", ["websocket", "sse"])


@pytest.fixture(params=["uvicorn", "live"])
def site(request: pytest.FixtureRequest, transactional_db: None) -> Iterator[ThreadSite]:
    with in_a_thread(request.param) as site:
        yield site


@pytest.fixture
def set_policy(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Change times of all servers, so that what takes a minute takes seconds."""

    def change(**values: float) -> None:
        for module in (websocket, sse, websocket_protocol, http_protocol):
            monkeypatch.setattr(module, "POLICY", replace(module.POLICY, **values))

    return change


def connect(port: int, transport: str, *topics: str) -> Any:
    client = CLIENTS[transport](ThreadSite(port), tickets.issue(topics or [TOPIC]))
    client.message("hello")
    return client


def every(seconds: float, act: Callable[[], object]) -> AbstractContextManager[None]:
    """Act again and again in a thread; a line that was closed is no error."""

    def act_on_line() -> None:
        with suppress(OSError):
            act()

    return repeating(act_on_line, seconds)


@LONG
def test_f31_a_client_that_a_cut_network_hides_is_forgotten_by_the_server_and_others_stay(
    site: ThreadSite, set_policy: Callable[..., None], converges: Converges
) -> None:
    set_policy(ping_s=0.5, silence_s=6.0)
    other = connect(site.port, "websocket")
    with FaultProxy(site.port) as line:
        client = connect(line.port, "websocket")
        assert the_driver().connection_count == 2
        line.black_hole()

        def is_forgotten() -> bool:
            other.messages_within(0.2)  # It answers what asks whether it is there.
            return the_driver().connection_count == 1

        with converges():
            wait_until(is_forgotten, "the hidden client is forgotten", 60)
        assert the_driver().counts[f"closed {reasons.SILENT.word}"] == 1
        assert not other.has_ended
        client.socket.socket.close()
    other.close()


@LONG
@pytest.mark.parametrize("connect_slow", [slow_socket, slow_stream])
def test_f34_a_client_that_reads_a_byte_now_and_then_is_closed_as_one_that_reads_nothing(
    site: ThreadSite, set_policy: Callable[..., None], converges: Converges, connect_slow: Any
) -> None:
    set_policy(slow_s=2.0)
    with connect_slow(site, TOPIC) as line:
        wait_until(lambda: the_driver().connection_count == 1, "it is connected")
        with every(0.1, lambda: line.recv(1)), all_tasks_change(TOPIC), converges():
            wait_until(lambda: the_driver().connection_count == 0, "it is closed", 120)
    assert the_driver().counts[f"closed {reasons.SLOW.word}"] == 1


@LONG
def test_f34_a_client_that_acknowledges_what_it_has_not_read_is_closed_too(
    site: ThreadSite, set_policy: Callable[..., None]
) -> None:
    set_policy(slow_s=2.0)
    with slow_socket(site, TOPIC) as line:
        wait_until(lambda: the_driver().connection_count == 1, "it is connected")
        ack = masked(b'{"type":"ack","n":1000000000}')
        with every(0.2, lambda: line.sendall(ack)), all_tasks_change(TOPIC):
            wait_until(lambda: the_driver().connection_count == 0, "it is closed", 120)


def test_f35_clients_that_reset_their_connection_right_after_the_request_leave_nothing_behind(
    site: ThreadSite, converges: Converges
) -> None:
    connect(site.port, "sse").close()
    wait_until(lambda: the_driver().connection_count == 0, "the first client has left")
    loop = the_driver()._loop

    def tasks() -> int:
        return len(asyncio.all_tasks(loop))

    def files() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = tasks(), threading.active_count(), files()
    head = (
        f"GET /telltale/live/ HTTP/1.1\r\nHost: 127.0.0.1:{site.port}\r\nAccept: text/event-stream\r\n"
        f"Authorization: Bearer {tickets.issue([TOPIC])}\r\n\r\n"
    )
    for _ in range(300):
        with socket.create_connection(("127.0.0.1", site.port), timeout=30) as line:
            line.sendall(head.encode())
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    with converges():
        wait_until(lambda: the_driver().connection_count == 0, "all clients are forgotten")
    wait_until(lambda: (tasks(), threading.active_count(), files()) <= before, "nothing is left over")
    with_news = connect(site.port, "websocket")
    assert not with_news.has_ended
    with_news.close()


def test_f36_hundreds_of_clients_that_return_at_once_are_all_served_by_few_reads(
    site: ThreadSite, monkeypatch: pytest.MonkeyPatch, converges: Converges, record_property: Callable[..., None]
) -> None:
    task = task_of()
    claim = started(task)
    ticket = tickets.issue([task_topic(task.pk)])
    reads: list[int] = []
    read_topics = store.read_topics

    def counted(topics: Any) -> Any:
        reads.append(1)
        return read_topics(topics)

    with FaultProxy(site.port) as line:
        with following(line.port, [ticket] * 300, (1, 1)):
            line.reset()
            wait_until(lambda: the_driver().connection_count == 0, "all connections were cut")
        moved(claim, 0.5, seq=7)
        monkeypatch.setattr(store, "read_topics", counted)
        with ExitStack() as stack:
            with converges():
                stack.enter_context(following(line.port, [ticket] * 300, (1, 7)))
            record_property("reads", len(reads))
            assert len(reads) <= 60


@contextmanager
def following(port: int, all_tickets: list[str], newest: tuple[int, int]) -> Iterator[None]:
    """Connect a client for each ticket, and wait until all have this snapshot."""
    followers = Followers(port)
    try:
        followers.connect(all_tickets)
        wait_until(lambda: the_driver().connection_count == len(all_tickets), "all are connected")
        wait_until(lambda: all(f.newest >= newest for f in followers.all), "all have the newest snapshot")
        assert (followers.close_reasons, followers.went_back) == ([], 0)
        yield
    finally:
        followers.close()


@LONG
@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("kind", ["uvicorn", "live"])
def test_f47_an_event_loop_that_stood_still_closes_no_client_that_answered_meanwhile(
    transactional_db: None, set_policy: Callable[..., None], kind: str, new_loop: Any
) -> None:
    set_policy(ping_s=0.5, silence_s=3.0)
    with in_a_thread(kind, new_loop) as site, ExitStack() as stack:
        clients = [stack.enter_context(Socket(site, TOPIC)) for _ in range(5)]
        for client in clients:
            stack.enter_context(every(0.3, lambda client=client: client.send(masked(b'{"type":"ack","n":1}'))))
        the_driver()._loop.call_soon_threadsafe(time.sleep, 5.0)
        messages.publish(TOPIC, "after", 1)
        assert [client.event() for client in clients] == [1] * 5
        time.sleep(1.5)  # for a sweep of the connections
        assert the_driver().connection_count == 5


@LONG
@STREAMS
def test_f51_pings_keep_a_line_open_through_a_proxy_that_closes_idle_ones(
    site: ThreadSite, set_policy: Callable[..., None], transport: str
) -> None:
    assert max(module.POLICY.ping_s for module in (websocket, sse, websocket_protocol)) < 30
    set_policy(ping_s=0.5)
    with FaultProxy(site.port, idle_s=8.0) as line:
        client = connect(line.port, transport)
        began = time.monotonic()
        while time.monotonic() < began + 10:
            client.message("ping")
        client.close()


@STREAMS
def test_f51_after_an_old_line_was_closed_the_next_one_brings_only_what_is_newer(
    site: ThreadSite, transport: str
) -> None:
    task = task_of()
    claim = started(task)
    with FaultProxy(site.port) as line:
        client = connect(line.port, transport, task_topic(task.pk))
        seen = client.snapshot(task.pk)
        line.cut()
        with suppress(httpx.RemoteProtocolError):  # a stream without its end
            client.wait_for_end()
        ticket = tickets.issue([task_topic(task.pk)])
        have = {seen["id"]: (seen["attempt"], seen["ended"], seen["seq"])}
        again = CLIENTS[transport](ThreadSite(line.port), ticket, have)
        again.message("hello")
        moved(claim, 0.5, seq=seen["seq"] + 1)
        assert again.snapshot(task.pk)["seq"] == seen["seq"] + 1
        again.close()
