"""The live server's streams, byte by byte: how they are asked for, what they look like, and what stands around them."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

import telltale
from telltale.core.wire import INBOUND_BYTES
from telltale.live import tickets
from telltale.server import http_protocol
from tests.factories import started, task_of
from tests.server.test_websocket_protocol import until_nobody_is_there
from tests.transports.raw import UPGRADE, Line, is_quiet
from tests.transports.sites import ThreadSite, in_a_thread

pytestmark = pytest.mark.service


@pytest.fixture
def site(transactional_db: None) -> Iterator[ThreadSite]:
    with in_a_thread("live") as site:
        yield site


def wants(topic: str = "project:7", **more: Any) -> tuple[str, str]:
    """The headers that ask for a stream."""
    return ("Accept: text/event-stream", f"Authorization: Bearer {tickets.issue([topic], **more)}")


def body(content: bytes) -> str:
    return f"Content-Length: {len(content)}"


def chunks(data: bytes) -> list[bytes]:
    """What a chunked body holds, up to its end or the end of the data."""
    found = []
    while data:
        size, _, data = data.partition(b"\r\n")
        found.append(data[: int(size, 16)])
        assert data[int(size, 16) :][:2] == b"\r\n"
        data = data[int(size, 16) + 2 :]
    return found


def test_a_stream_is_chunked_and_begins_at_once(site: ThreadSite) -> None:
    with Line(site) as line:
        head = line.asks(*wants()).hears(b"\r\n\r\n").lower()
        assert head.startswith(b"http/1.1 200 ok\r\n")
        assert b"transfer-encoding: chunked" in head
        assert b"content-type: text/event-stream" in head
        assert b"cache-control: no-store, no-transform, private" in head
        assert b"x-accel-buffering: no" in head
        assert b"date: " in head
        opening, greeting = chunks(line.hears(b"}}\n\n\r\n"))
    assert opening == b":\n\n"
    assert json.loads(greeting.removeprefix(b"data: "))["type"] == "hello"


def test_http_1_0_gets_a_stream_that_ends_with_the_line(site: ThreadSite) -> None:
    with Line(site) as line:
        head = line.asks(*wants(ttl_s=0.7), version="1.0").hears(b"\r\n\r\n").lower()
        assert b"transfer-encoding" not in head
        assert b"connection: close" in head
        events = line.rest().split(b"\n\n")
    assert events[0] == b":"
    assert [json.loads(event.removeprefix(b"data: "))["type"] for event in events[1:-1]] == ["hello", "bye"]


def test_the_last_chunk_follows_the_farewell_and_then_the_end(site: ThreadSite) -> None:
    with Line(site) as line:
        line.asks(*wants(ttl_s=0.7)).hears(b"\r\n\r\n")
        *_, farewell, last = chunks(line.rest())
    assert json.loads(farewell.removeprefix(b"data: "))["code"] == 4402
    assert last == b""
    until_nobody_is_there()


def test_a_post_says_what_it_has_in_whatever_pieces(site: ThreadSite) -> None:
    task, other = task_of(), task_of()
    claim = started(task)
    said = json.dumps({"have": {str(task.pk): [claim.attempt, True, 9]}}).encode()
    ticket = tickets.issue([f"task:{task.pk}", f"task:{other.pk}"])
    with Line(site) as line:
        line.asks("Accept: text/event-stream", f"Authorization: Bearer {ticket}", body(said), verb="POST")
        for byte in said:
            line.says(bytes([byte]))
        heard = line.hears(b'"type":"update"') + line.hears(b"\r\n")
    assert str(other.pk).encode() in heard
    assert str(task.pk).encode() not in heard.partition(b'"update"')[2]


def test_a_client_that_waits_to_be_told_to_go_on_is_told(site: ThreadSite) -> None:
    with Line(site) as line:
        line.asks(*wants(), "Expect: 100-continue", body(b"{}"), verb="POST")
        assert line.hears(b"\r\n\r\n").startswith(b"HTTP/1.1 100 ")
        assert b" 200 " in line.says(b"{}").hears(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("said", "status", "code"),
    [
        (b"{", b"400", 4400),
        (b"[]", b"400", 4400),
        (b'{"have": 7}', b"400", 4400),
        (b" " * INBOUND_BYTES + b"{}", b"400", 4400),
        (b"x" * 200_000, b"400", 4400),
    ],
)
def test_a_body_that_is_wrong_or_too_long_is_refused(site: ThreadSite, said: bytes, status: bytes, code: int) -> None:
    with Line(site) as line:
        head, _, answer = line.asks(*wants(), body(said), verb="POST", body=said).rest().partition(b"\r\n\r\n")
    assert head.split()[1] == status
    assert json.loads(answer)["code"] == code


@pytest.mark.parametrize(("ticket", "code"), [("", 4401), ("nonsense", 4401), (None, 4402)])
def test_without_a_good_ticket_the_answer_is_why(site: ThreadSite, ticket: str | None, code: int) -> None:
    ticket = tickets.issue(["project:7"], ttl_s=-1) if ticket is None else ticket
    with Line(site) as line:
        line.asks("Accept: text/event-stream", f"Authorization: Bearer {ticket}")
        head, _, answer = line.rest().partition(b"\r\n\r\n")
    assert head.split()[1] == b"401"
    assert b"connection: close" in head.lower()
    assert json.loads(answer)["code"] == code
    until_nobody_is_there()


def test_a_full_server_says_429(site: ThreadSite, settings: Any) -> None:
    settings.TELLTALE = settings.TELLTALE | {"CONNECTIONS": 1}
    with Line(site) as first, Line(site) as second:
        first.asks(*wants()).hears(b"\r\n\r\n")
        assert b" 429 " in second.asks(*wants()).rest().partition(b"\r\n")[0]


def test_head_is_no_way_to_hear(site: ThreadSite) -> None:
    with Line(site) as line:
        assert b" 405 " in line.asks(*wants(), verb="HEAD").hears(b"\r\n\r\n")


def test_other_requests_on_the_same_line_may_come_before(site: ThreadSite) -> None:
    with Line(site) as line:
        for _ in range(2):
            assert b" 404 " in line.asks(path="/nowhere/").hears(b"</html>")
            line.hears(b"\n")
        assert b" 200 " in line.asks(*wants()).hears(b"\r\n\r\n")
        line.hears(b'"hello"')
        assert is_quiet(line, 6.0) or b"ping" in line.came  # longer than uvicorn keeps a line that is idle
        telltale.publish("project:7", "x", 1)
        line.hears(b'"update"')


def test_a_stream_that_is_asked_for_before_the_answer_to_another_request_comes_after_it(site: ThreadSite) -> None:
    request = "\r\n".join(["GET {} HTTP/1.1", "Host: 127.0.0.1", *wants(), "", ""])
    with Line(site) as line:
        line.says(request.format("/nowhere/") + request.format("/telltale/live/"))
        assert b" 404 " in line.hears(b"\r\n\r\n")
        assert b" 200 " in line.hears(b"text/event-stream")
        line.hears(b'"hello"')


@pytest.mark.parametrize(
    "more",
    [
        "GET /nowhere/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        "GET /telltale/live/ HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n",
        "GET /telltale/live/ HTTP/1.1\r\nHost: 127.0.0.1\r\n" + "\r\n".join(UPGRADE) + "\r\n\r\n",
        "\x00 garbage \r\n\r\n",
    ],
    ids=["another request", "another stream", "a socket", "garbage"],
)
@pytest.mark.parametrize("is_later", [False, True], ids=["at once", "later"])
def test_whatever_is_said_after_a_request_for_a_stream_does_not_get_into_it(
    site: ThreadSite, more: str, is_later: bool
) -> None:
    request = "\r\n".join(["GET /telltale/live/ HTTP/1.1", "Host: 127.0.0.1", *wants(), "", ""])
    with Line(site) as line:
        line.says(request + ("" if is_later else more)).hears(b"\r\n\r\n")
        heard = line.hears(b"}}\n\n\r\n")
        line.says(more if is_later else b"")
        assert is_quiet(line, 0.3)
        telltale.publish("project:7", "x", 1)
        heard += line.hears(b"]}\n\n\r\n")
    assert [chunk[:6] for chunk in chunks(heard)] == [b":\n\n", b"data: ", b"data: "]


def test_a_stream_that_asks_to_become_a_socket_becomes_a_socket(site: ThreadSite) -> None:
    with Line(site) as line:
        assert b" 101 " in line.asks(*wants(), *UPGRADE).hears(b"\r\n\r\n")


def test_who_never_ends_its_request_is_let_go_of(site: ThreadSite, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = http_protocol.POLICY
    monkeypatch.setattr(http_protocol, "POLICY", type(policy)(credit=None, admit_s=0.5))
    with Line(site) as line:
        assert line.asks(*wants(), "Content-Length: 100", verb="POST").says(b"{").rest() == b""


def test_who_hangs_up_is_let_go_of(site: ThreadSite) -> None:
    with Line(site) as line:
        line.asks(*wants()).hears(b"hello")
    until_nobody_is_there()
