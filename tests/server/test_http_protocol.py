"""The live server's streams, byte by byte: their requests, their responses, and other requests on the same line."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

import telltale
from telltale.core.wire import INBOUND_BYTES
from telltale.live import tickets
from telltale.server import http_protocol
from tests.factories import started, task_of
from tests.server.test_websocket_protocol import until_all_have_left
from tests.transports.raw import UPGRADE, Line, is_quiet
from tests.transports.sites import ThreadSite, in_a_thread

pytestmark = pytest.mark.service


@pytest.fixture
def site(transactional_db: None) -> Iterator[ThreadSite]:
    with in_a_thread("live") as site:
        yield site


def stream_headers(topic: str = "project:7", **more: Any) -> tuple[str, str]:
    """The headers of a request for a stream."""
    return ("Accept: text/event-stream", f"Authorization: Bearer {tickets.issue([topic], **more)}")


def length_header(content: bytes) -> str:
    return f"Content-Length: {len(content)}"


def chunks(data: bytes) -> list[bytes]:
    """Return the chunks of a body, up to its end or the end of the data."""
    contents = []
    while data:
        size, _, data = data.partition(b"\r\n")
        contents.append(data[: int(size, 16)])
        assert data[int(size, 16) :][:2] == b"\r\n"
        data = data[int(size, 16) + 2 :]
    return contents


def test_s26_a_stream_is_chunked_uncompressed_and_begins_at_once(site: ThreadSite) -> None:
    with Line(site) as line:
        head = line.request(*stream_headers()).read_until(b"\r\n\r\n").lower()
        assert head.startswith(b"http/1.1 200 ok\r\n")
        assert b"transfer-encoding: chunked" in head
        assert b"content-type: text/event-stream" in head
        assert b"cache-control: no-store, no-transform, private" in head
        assert b"x-accel-buffering: no" in head
        assert b"date: " in head
        opening, greeting = chunks(line.read_until(b"}}\n\n\r\n"))
    assert opening == b":\n\n"
    assert json.loads(greeting.removeprefix(b"data: "))["type"] == "hello"


def test_a_stream_over_http_1_0_ends_with_the_connection(site: ThreadSite) -> None:
    with Line(site) as line:
        head = line.request(*stream_headers(ttl_s=2.0), version="1.0").read_until(b"\r\n\r\n").lower()
        assert b"transfer-encoding" not in head
        assert b"connection: close" in head
        events = line.read_to_end().split(b"\n\n")
    assert events[0] == b":"
    assert [json.loads(event.removeprefix(b"data: "))["type"] for event in events[1:-1]] == ["hello", "bye"]


def test_bye_and_the_last_chunk_end_a_stream(site: ThreadSite) -> None:
    with Line(site) as line:
        line.request(*stream_headers(ttl_s=2.0)).read_until(b"\r\n\r\n")
        *_, bye, last = chunks(line.read_to_end())
    assert json.loads(bye.removeprefix(b"data: "))["code"] == 4402
    assert last == b""
    until_all_have_left()


def test_a_post_sends_what_the_client_has_in_pieces_of_any_size(site: ThreadSite) -> None:
    task, other = task_of(), task_of()
    claim = started(task)
    content = json.dumps({"have": {str(task.pk): [claim.attempt, False, 9]}}).encode()
    ticket = tickets.issue([f"task:{task.pk}", f"task:{other.pk}"])
    with Line(site) as line:
        line.request(
            "Accept: text/event-stream", f"Authorization: Bearer {ticket}", length_header(content), verb="POST"
        )
        for byte in content:
            line.send(bytes([byte]))
        received = line.read_until(b'"type":"update"') + line.read_until(b"\r\n")
    assert str(other.pk).encode() in received
    assert str(task.pk).encode() not in received.partition(b'"update"')[2]


def test_a_client_that_expects_100_continue_receives_it(site: ThreadSite) -> None:
    with Line(site) as line:
        line.request(*stream_headers(), "Expect: 100-continue", length_header(b"{}"), verb="POST")
        assert line.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 100 ")
        assert b" 200 " in line.send(b"{}").read_until(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"{", b"400", 4400),
        (b"[]", b"400", 4400),
        (b'{"have": 7}', b"400", 4400),
        (b" " * INBOUND_BYTES + b"{}", b"400", 4400),
        (b"x" * 200_000, b"400", 4400),
    ],
)
def test_s41_a_malformed_or_too_long_body_is_refused(
    site: ThreadSite, content: bytes, status: bytes, code: int
) -> None:
    with Line(site) as line:
        head, _, answer = (
            line.request(*stream_headers(), length_header(content), verb="POST", body=content)
            .read_to_end()
            .partition(b"\r\n\r\n")
        )
    assert head.split()[1] == status
    assert json.loads(answer)["code"] == code


@pytest.mark.parametrize(("ticket", "code"), [("", 4401), ("nonsense", 4401), (None, 4402)])
def test_without_a_valid_ticket_the_response_names_the_reason(site: ThreadSite, ticket: str | None, code: int) -> None:
    ticket = tickets.issue(["project:7"], ttl_s=-1) if ticket is None else ticket
    with Line(site) as line:
        line.request("Accept: text/event-stream", f"Authorization: Bearer {ticket}")
        head, _, answer = line.read_to_end().partition(b"\r\n\r\n")
    assert head.split()[1] == b"401"
    assert b"connection: close" in head.lower()
    assert json.loads(answer)["code"] == code
    until_all_have_left()


def test_a_full_server_answers_429(site: ThreadSite, settings: Any) -> None:
    settings.TELLTALE = settings.TELLTALE | {"CONNECTIONS": 1}
    with Line(site) as first, Line(site) as second:
        first.request(*stream_headers()).read_until(b"\r\n\r\n")
        assert b" 429 " in second.request(*stream_headers()).read_to_end().partition(b"\r\n")[0]


def test_head_requests_are_not_allowed(site: ThreadSite) -> None:
    with Line(site) as line:
        assert b" 405 " in line.request(*stream_headers(), verb="HEAD").read_until(b"\r\n\r\n")


def test_other_requests_may_precede_a_stream_on_the_same_connection(site: ThreadSite) -> None:
    with Line(site) as line:
        for _ in range(2):
            assert b" 404 " in line.request(path="/nowhere/").read_until(b"</html>")
            line.read_until(b"\n")
        assert b" 200 " in line.request(*stream_headers()).read_until(b"\r\n\r\n")
        line.read_until(b'"hello"')
        assert is_quiet(line, 6.0) or b"ping" in line.received  # longer than uvicorn keeps an idle connection
        telltale.publish("project:7", "x", 1)
        line.read_until(b'"update"')


def test_a_stream_requested_before_the_previous_response_begins_after_it(site: ThreadSite) -> None:
    request = "\r\n".join(["GET {} HTTP/1.1", "Host: 127.0.0.1", *stream_headers(), "", ""])
    with Line(site) as line:
        line.send(request.format("/nowhere/") + request.format("/telltale/live/"))
        assert b" 404 " in line.read_until(b"\r\n\r\n")
        assert b" 200 " in line.read_until(b"text/event-stream")
        line.read_until(b'"hello"')


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
def test_data_after_a_request_for_a_stream_does_not_change_the_stream(
    site: ThreadSite, more: str, is_later: bool
) -> None:
    request = "\r\n".join(["GET /telltale/live/ HTTP/1.1", "Host: 127.0.0.1", *stream_headers(), "", ""])
    with Line(site) as line:
        line.send(request + ("" if is_later else more)).read_until(b"\r\n\r\n")
        received = line.read_until(b"}}\n\n\r\n")
        line.send(more if is_later else b"")
        assert is_quiet(line, 0.3)
        telltale.publish("project:7", "x", 1)
        received += line.read_until(b"]}\n\n\r\n")
    assert [chunk[:6] for chunk in chunks(received)] == [b":\n\n", b"data: ", b"data: "]


def test_a_request_for_a_stream_and_an_upgrade_opens_a_socket(site: ThreadSite) -> None:
    with Line(site) as line:
        assert b" 101 " in line.request(*stream_headers(), *UPGRADE).read_until(b"\r\n\r\n")


def test_a_client_that_never_completes_its_request_is_disconnected(
    site: ThreadSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = http_protocol.POLICY
    monkeypatch.setattr(http_protocol, "POLICY", type(policy)(credit=None, admit_s=0.5))
    with Line(site) as line:
        assert line.request(*stream_headers(), "Content-Length: 100", verb="POST").send(b"{").read_to_end() == b""


def test_s48_a_client_that_disconnects_is_forgotten(site: ThreadSite) -> None:
    with Line(site) as line:
        line.request(*stream_headers()).read_until(b"hello")
    until_all_have_left()
