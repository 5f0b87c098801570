"""The socket's own rules: who may open it, what it may say, and how it ends."""

import json
import time
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

import telltale
from telltale.core.topics import task_topic, user_topic
from telltale.live import tickets
from telltale.transports.websocket import BURST, RATE, Allowance, Listener
from tests.factories import moved, person, started, task_of
from tests.transports.raw import Socket
from tests.transports.sites import in_a_thread
from tests.transports.slow import masked

pytestmark = pytest.mark.service


def last_words(socket: Any) -> tuple[dict[str, Any], int]:
    """The bye, and the close code."""
    messages = []
    with pytest.raises(ConnectionClosed) as closed:
        while True:
            messages.append(json.loads(socket.recv(8)))
    assert closed.value.rcvd is not None
    return messages[-1], closed.value.rcvd.code


HELLO = {"type": "hello", "v": 1}


@pytest.mark.parametrize(
    ("said", "code"),
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
def test_a_client_that_begins_wrongly_is_told_why(site: Any, said: str | bytes, code: int) -> None:
    with site.socket() as socket:
        socket.send(said)
        bye, close_code = last_words(socket)
    assert (bye["type"], bye["code"], close_code) == ("bye", code, code)


def test_a_client_that_goes_on_wrongly_is_told_why(site: Any) -> None:
    with site.socket() as socket:
        socket.send(json.dumps(HELLO | {"ticket": tickets.issue(["project:7"])}))
        assert json.loads(socket.recv(8))["type"] == "hello"
        socket.send(json.dumps({"type": "publish", "topic": "project:7"}))
        assert last_words(socket)[1] == 4400


def test_a_client_that_floods_is_closed(site: Any) -> None:
    with site.socket() as socket:
        socket.send(json.dumps(HELLO | {"ticket": tickets.issue(["project:7"])}))
        try:
            for n in range(500):
                socket.send(json.dumps({"type": "ack", "n": n}))
        except ConnectionClosed:
            pass
        assert last_words(socket)[1] == 4008


def test_no_more_of_a_flood_is_handled_than_is_allowed(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    takes = Listener.takes
    monkeypatch.setattr(Listener, "takes", lambda self: taken.append(1) or takes(self))
    with in_a_thread("uvicorn") as site, Socket(site) as other, Socket(site) as client:
        client.says(masked(b'{"type":"ack","n":0}') * 5_000)
        assert client.words_and_closing()[0] == 4008
        telltale.publish("project:7", "x", 1)
        assert other.event() == 1
    assert len(taken) < 2 * BURST


def test_an_allowance_fills_again_with_time_and_never_above_its_burst() -> None:
    allowance = Allowance(at=100.0)
    assert all(allowance.spend(100.0) for _ in range(int(BURST)))
    assert not allowance.spend(100.0)
    later = 100.0 + 2 / RATE + 1e-6
    assert [allowance.spend(later) for _ in range(2)] == [True, False]
    assert sum(allowance.spend(later + 3_600) for _ in range(1_000)) == BURST


def test_another_sites_page_can_not_open_a_socket(site: Any) -> None:
    for origin in ("https://evil.example", "null", f"http://127.0.0.1.evil.example:{site.port}"):
        with pytest.raises(InvalidStatus) as refusal, site.socket(origin=origin):
            pass
        assert refusal.value.response.status_code == 403


def test_our_own_pages_and_trusted_ones_can(site: Any, settings: Any) -> None:
    settings.CSRF_TRUSTED_ORIGINS = ["https://*.example.org", "https://example.com"]
    for origin in (site.url, "https://www.example.org", "https://example.com"):
        with site.socket(origin=origin):
            pass
    for origin in ("http://www.example.org", "https://sub.example.com"):
        with pytest.raises(InvalidStatus), site.socket(origin=origin):
            pass


def test_a_host_that_is_not_ours_is_served_nothing(site: Any, settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["example.org"]
    with pytest.raises(InvalidStatus), site.socket():
        pass


def test_a_socket_elsewhere_is_refused_and_not_an_error(site: Any) -> None:
    with pytest.raises(InvalidStatus) as refusal, connect(f"ws://127.0.0.1:{site.port}/elsewhere/"):
        pass
    assert refusal.value.response.status_code == 403


def test_a_renewed_ticket_lets_the_socket_live_on_and_may_bring_more(socket_hears: Any) -> None:
    first, second = task_of(), task_of()
    heard = socket_hears(tickets.issue([task_topic(first.pk)], ttl_s=1.0))
    heard.task(first.pk)
    heard.say(type="ticket", ticket=tickets.issue([task_topic(first.pk), task_topic(second.pk)], ttl_s=60))
    heard.task(second.pk)
    time.sleep(1.1)
    claim = started(first)
    moved(claim, 0.5, seq=2)
    assert heard.task(first.pk, lambda s: s["state"] == "running")


def test_a_ticket_that_is_not_renewed_ends_the_socket_and_says_come_back(socket_hears: Any) -> None:
    bye = socket_hears(tickets.issue(["project:7"], ttl_s=0.7)).type("bye")
    assert (bye["code"], bye["again"]) == (4402, "at once")


def test_a_socket_can_not_be_handed_to_another_person(socket_hears: Any) -> None:
    heard = socket_hears(tickets.issue(["user:1"], follower="user:1"))
    heard.type("hello")
    heard.say(type="ticket", ticket=tickets.issue(["user:2"], follower="user:2"))
    assert heard.type("bye")["code"] == 4403


def test_one_person_has_so_many_connections_and_no_more(socket_hears: Any, settings: Any) -> None:
    settings.TELLTALE = settings.TELLTALE | {"CONNECTIONS_PER_USER": 2}
    ada = user_topic(person().pk)
    ticket = tickets.issue([ada], follower=ada)
    first, second = socket_hears(ticket), socket_hears(ticket)
    first.type("hello")
    second.type("hello")
    assert socket_hears(ticket).type("bye")["code"] == 4429
    first.close()
    time.sleep(0.2)
    socket_hears(ticket).type("hello")


def test_a_client_that_never_says_who_it_is_waits_for_nothing_and_costs_a_timer(site: Any) -> None:
    with site.socket() as socket:
        with pytest.raises(TimeoutError):
            socket.recv(0.3)
        socket.send(json.dumps(HELLO | {"ticket": tickets.issue(["project:7"])}))
        assert json.loads(socket.recv(8))["type"] == "hello"


def test_a_server_that_goes_away_says_so_first(site: Any, socket_hears: Any) -> None:
    heard = socket_hears(tickets.issue(["project:7"]))
    heard.type("hello")
    site.goes_away()
    bye = heard.type("bye")
    assert (bye["code"], bye["again"]) == (4000, "later")
    assert bye["within_s"] >= 1


def test_a_server_that_goes_away_takes_nobody_more(site: Any, socket_hears: Any, settings: Any) -> None:
    socket_hears(tickets.issue(["project:7"])).type("hello")
    site.goes_away()
    assert socket_hears(tickets.issue(["project:7"])).type("bye")["code"] == 4000
