"""WebSockets: which pages may open one, what a client may send, and how the connection ends."""

import json
import time
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

import telltale
from telltale.core.topics import task_topic, user_topic
from telltale.live import tickets
from telltale.transports.websocket import BURST, RATE, ClientMessages, MessageBucket
from tests.factories import moved, person, started, task_of
from tests.transports.conftest import Client
from tests.transports.raw import Socket
from tests.transports.sites import in_a_thread, wait_until
from tests.transports.slow import masked

pytestmark = pytest.mark.service


def bye_and_close_code(socket: Any) -> tuple[dict[str, Any], int]:
    messages = []
    with pytest.raises(ConnectionClosed) as closed:
        while True:
            messages.append(json.loads(socket.recv(20)))
    assert closed.value.rcvd is not None
    return messages[-1], closed.value.rcvd.code


HELLO = {"type": "hello", "v": 1}


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ("nonsense", 4400),
        ("[]", 4400),
        ('{"type":"ack","n":1}', 4400),
        ('{"type":"hello","v":2,"ticket":"x"}', 4409),
        ('{"type":"hello","v":1}', 4401),
        ('{"type":"hello","v":1,"ticket":7}', 4401),
        ('{"type":"hello","v":1,"ticket":"x","have":{"a":1}}', 4400),
        (b"\xff\xfe", 4400),
        ("x" * 20_000, 4400),
        ("[" * 16_000, 4400),
    ],
)
def test_a_wrong_first_message_is_answered_with_the_reason(site: Any, data: str | bytes, code: int) -> None:
    with site.socket() as socket:
        socket.send(data)
        bye, close_code = bye_and_close_code(socket)
    assert (bye["type"], bye["code"], close_code) == ("bye", code, code)


@pytest.mark.parametrize("kind", ["publish", "cancel", "retry"])
def test_s07_a_socket_takes_no_actions_and_says_so(site: Any, kind: str) -> None:
    with site.socket() as socket:
        socket.send(json.dumps(HELLO | {"ticket": tickets.issue(["project:7"])}))
        assert json.loads(socket.recv(20))["type"] == "hello"
        socket.send(json.dumps({"type": kind, "topic": "project:7", "task": "project:7"}))
        assert bye_and_close_code(socket)[1] == 4400


def test_s38_a_client_that_floods_is_closed(site: Any) -> None:
    with site.socket() as socket:
        socket.send(json.dumps(HELLO | {"ticket": tickets.issue(["project:7"])}))
        try:
            for n in range(500):
                socket.send(json.dumps({"type": "ack", "n": n}))
        except ConnectionClosed:
            pass
        assert bye_and_close_code(socket)[1] == 4008


def test_no_more_messages_of_a_flood_are_handled_than_allowed(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = []
    allow = ClientMessages.allow
    monkeypatch.setattr(ClientMessages, "allow", lambda self: counted.append(1) or allow(self))
    monkeypatch.setattr("telltale.transports.websocket.RATE", 0.001)  # No refill, however slow the machine is.
    with in_a_thread("uvicorn") as site, Socket(site) as other, Socket(site) as client:
        client.send(masked(b'{"type":"ack","n":0}') * 5_000)
        assert client.texts_and_closing()[0] == 4008
        telltale.publish("project:7", "x", 1)
        assert other.event() == 1
    assert len(counted) < 2 * BURST


def test_a_token_bucket_is_refilled_with_time_and_never_above_its_burst() -> None:
    bucket = MessageBucket(filled_at=100.0)
    assert all(bucket.spend(100.0) for _ in range(int(BURST)))
    assert not bucket.spend(100.0)
    later = 100.0 + 2 / RATE + 1e-6
    assert [bucket.spend(later) for _ in range(3)] == [True, True, False]
    assert sum(bucket.spend(later + 3_600) for _ in range(1_000)) == BURST


def test_s01_s02_a_page_of_another_site_can_not_open_a_socket(site: Any) -> None:
    # The settings of these tests allow every host, which must not allow every origin.
    for origin in ("https://evil.example", "null", "file://", f"http://127.0.0.1.evil.example:{site.port}"):
        with pytest.raises(InvalidStatus) as refusal, site.socket(origin=origin):
            pass
        assert refusal.value.response.status_code == 403


def test_pages_of_this_site_and_of_trusted_origins_can_open_a_socket(site: Any, settings: Any) -> None:
    settings.CSRF_TRUSTED_ORIGINS = ["https://*.example.org", "https://example.com"]
    for origin in (site.url, "https://www.example.org", "https://example.com"):
        with site.socket(origin=origin):
            pass
    for origin in ("http://www.example.org", "https://sub.example.com"):
        with pytest.raises(InvalidStatus), site.socket(origin=origin):
            pass


def test_a_request_for_an_unknown_host_is_refused(site: Any, settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["example.org"]
    with pytest.raises(InvalidStatus), site.socket():
        pass


def test_a_socket_at_another_address_is_refused_without_an_error(site: Any) -> None:
    with pytest.raises(InvalidStatus) as refusal, connect(f"ws://127.0.0.1:{site.port}/elsewhere/"):
        pass
    assert refusal.value.response.status_code == 403


def test_a_renewed_ticket_keeps_the_socket_open_and_may_add_topics(connect_socket: Any) -> None:
    first, second = task_of(), task_of()
    client = connect_socket(tickets.issue([task_topic(first.pk)], ttl_s=3.0))
    client.snapshot(first.pk)
    client.send(type="ticket", ticket=tickets.issue([task_topic(first.pk), task_topic(second.pk)], ttl_s=60))
    client.snapshot(second.pk)
    time.sleep(3.1)
    claim = started(first)
    moved(claim, 0.5, seq=2)
    assert client.snapshot(first.pk, lambda s: s["state"] == "running")


def test_an_expired_ticket_closes_the_socket_and_the_client_may_return_at_once(connect_socket: Any) -> None:
    bye = connect_socket(tickets.issue(["project:7"], ttl_s=0.7)).message("bye")
    assert (bye["code"], bye["again"]) == (4402, "at once")


def test_s11_a_socket_can_not_change_to_another_person(connect_socket: Any) -> None:
    client = connect_socket(tickets.issue(["user:1"], follower="user:1"))
    client.message("hello")
    client.send(type="ticket", ticket=tickets.issue(["user:2"], follower="user:2"))
    assert client.message("bye")["code"] == 4403


def test_s36_connections_of_one_person_are_limited(connect_socket: Any, settings: Any) -> None:
    settings.TELLTALE = settings.TELLTALE | {"CONNECTIONS_PER_USER": 2}
    ada = user_topic(person().pk)
    ticket = tickets.issue([ada], follower=ada)
    first, second = connect_socket(ticket), connect_socket(ticket)
    first.message("hello")
    second.message("hello")
    assert connect_socket(ticket).message("bye")["code"] == 4429
    first.close()
    wait_until(lambda: is_greeted(connect_socket(ticket)), "the server has forgotten the client")


def is_greeted(client: Client) -> bool:
    return bool(client.until(lambda message: message["type"] in {"hello", "bye"})["type"] == "hello")


def test_a_client_without_a_hello_receives_nothing_and_may_send_it_later(site: Any) -> None:
    with site.socket() as socket:
        with pytest.raises(TimeoutError):
            socket.recv(0.3)
        socket.send(json.dumps(HELLO | {"ticket": tickets.issue(["project:7"])}))
        assert json.loads(socket.recv(20))["type"] == "hello"


def test_a_draining_server_sends_bye_with_a_hint(site: Any, connect_socket: Any) -> None:
    client = connect_socket(tickets.issue(["project:7"]))
    client.message("hello")
    site.begin_shutdown()
    bye = client.message("bye")
    assert (bye["code"], bye["again"]) == (4000, "later")
    assert bye["within_s"] >= 1


def test_a_draining_server_accepts_no_new_clients(site: Any, connect_socket: Any, settings: Any) -> None:
    connect_socket(tickets.issue(["project:7"])).message("hello")
    site.begin_shutdown()
    assert connect_socket(tickets.issue(["project:7"])).message("bye")["code"] == 4000
