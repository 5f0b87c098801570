"""What a client may send before its request is served is bounded, in size and in time."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator

import httpx
import pytest

from telltale.core.wire import INBOUND_BYTES
from telltale.live import tickets
from telltale.server import bounded_protocol
from telltale.transports.http import HEAD_BYTES, HEAD_LINES
from tests.transports.raw import UPGRADE, Line, pause
from tests.transports.sites import CLASSES, PATIENCE_S, ThreadSite, in_a_thread

pytestmark = pytest.mark.service

HEAD = b"GET /telltale/live/ HTTP/1.1\r\nHost: 127.0.0.1\r\n"
POLL = ("Accept: application/json", "Content-Type: application/json")


@pytest.fixture
def site(transactional_db: None) -> Iterator[ThreadSite]:
    with in_a_thread("live") as site:
        yield site


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch, site: ThreadSite) -> ThreadSite:
    monkeypatch.setattr(bounded_protocol, "HEAD_S", 0.5)
    return site


def test_s40_a_client_that_sends_nothing_is_disconnected(impatient: ThreadSite) -> None:
    with Line(impatient) as line:
        assert line.read_to_end() == b""


@pytest.mark.parametrize(
    "begun", [HEAD[:20], HEAD, HEAD + b"Cookie: a", b"\r\n"], ids=["line", "host", "half", "empty"]
)
@pytest.mark.parametrize("is_first", [True, False], ids=["first", "second"])
def test_s40_a_request_whose_headers_never_end_is_refused(impatient: ThreadSite, begun: bytes, is_first: bool) -> None:
    with Line(impatient) as line:
        if not is_first:
            line.request(*POLL)
            line.read_until(b"no ticket")
        response = line.send(begun).read_to_end()
    assert response.rpartition(b"HTTP/1.1 ")[2].startswith(b"408 ")


def test_s40_headers_that_come_slowly_have_no_more_time(impatient: ThreadSite) -> None:
    with Line(impatient) as line:
        line.send(HEAD)
        line.socket.settimeout(0.1)
        for _ in range(int(PATIENCE_S / 0.1)):
            try:
                line.send(b"A: b\r\n")
                if (data := line.socket.recv(1_000)) is not None:
                    break
            except TimeoutError:
                continue
    assert data.startswith(b"HTTP/1.1 408 ")


def test_a_body_that_goes_on_after_the_answer_is_cut_off(impatient: ThreadSite) -> None:
    with Line(impatient) as line:
        line.request("Content-Length: 100", verb="PUT").read_until(b"Use GET or POST")
        line.send(b"{")
        line.read_to_end()


def test_a_request_that_waits_for_the_answer_to_an_earlier_one_is_not_late(impatient: ThreadSite) -> None:
    body = b'{"wait_s": 2}'
    headers = (*POLL, f"Authorization: Bearer {tickets.issue(['project:7'])}", f"Content-Length: {len(body)}")
    with Line(impatient) as line:
        line.request(*headers, verb="POST", body=body)
        pause()
        line.send(HEAD)
        responses = line.read_to_end()
    assert responses.startswith(b"HTTP/1.1 200 ")
    assert responses.rpartition(b"HTTP/1.1 ")[2].startswith(b"408 ")


def send_all(line: Line, data: bytes) -> None:
    """Send data that the server may refuse before it has read them all."""
    with contextlib.suppress(ConnectionError):
        line.send(data)


MANY = "".join(f"H{n}: x\r\n" for n in range(20_000))
TOO_LARGE = {
    "a cookie of 1 MB": f"Cookie: a={'x' * 1_000_000}\r\n",
    "20,000 headers": MANY,
    "one header too many": "".join(f"H{n}: x\r\n" for n in range(HEAD_LINES)),
    "large headers": "".join(f"H{n}: {'x' * 1_000}\r\n" for n in range(HEAD_BYTES // 1_000 + 1)),
}


@pytest.mark.parametrize("headers", TOO_LARGE.values(), ids=TOO_LARGE)
@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"], ids=["poll", "stream"])
@pytest.mark.parametrize("kind", CLASSES)
def test_s42_headers_that_are_too_many_or_too_large_are_refused(
    transactional_db: None, kind: str, accept: str, headers: str
) -> None:
    with in_a_thread(kind) as site, Line(site) as line:
        head = HEAD + f"Accept: {accept}\r\nConnection: close\r\n{headers}\r\n".encode()
        send_all(line, head)
        assert line.read_to_end().startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("kind", CLASSES)
def test_s42_a_socket_with_headers_that_are_too_large_is_refused(transactional_db: None, kind: str) -> None:
    status = {"live": b"431", "uvicorn": b"403"}[kind]  # Over ASGI a socket can only be refused with 403.
    with in_a_thread(kind) as site, Line(site) as line:
        line.request(*UPGRADE, *TOO_LARGE["large headers"].splitlines())
        assert line.read_until(b"\r\n").split()[1] == status


def test_s42_an_address_that_is_too_long_is_refused(site: ThreadSite) -> None:
    with Line(site) as line:
        send_all(line, b"GET /" + b"x" * 200_000 + b" HTTP/1.1\r\n\r\n")
        assert line.read_to_end().startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("begun", [b"GET /", HEAD + b"Cookie: ", HEAD + b"Coo", b"\r\n"])
def test_a_line_without_an_end_is_refused_before_it_is_complete(site: ThreadSite, begun: bytes) -> None:
    filler = begun if begun == b"\r\n" else b"x"
    with Line(site) as line:
        line.send(begun)
        send_all(line, filler * (16 * HEAD_BYTES))
        assert line.read_to_end()[:12] in {b"HTTP/1.1 431", b"HTTP/1.1 400"}


def test_the_longest_ticket_and_long_cookies_are_accepted(site: ThreadSite) -> None:
    headers = (
        *POLL,
        f"Authorization: Bearer {'x' * tickets.MAX_LENGTH}",
        *(f"Cookie: c{n}={'x' * 8_000}" for n in range(4)),
        *(f"X-{n}: x" for n in range(HEAD_LINES - 10)),
    )
    with Line(site) as line:
        line.request(*headers)
        assert b"no ticket" in line.read_until(b"no ticket")


def test_requests_one_after_another_and_bodies_are_served_as_before(site: ThreadSite) -> None:
    with httpx.Client(base_url=site.url, timeout=PATIENCE_S) as client:
        for _ in range(3):
            assert client.post("/telltale/live/", content=b" " * (INBOUND_BYTES - 1)).status_code == 401


def test_no_timer_is_left_of_a_request_that_was_served(site: ThreadSite, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[asyncio.TimerHandle] = []
    start: Callable[..., None] = bounded_protocol.BoundedProtocol._start_timer

    def counting(protocol: bounded_protocol.BoundedProtocol) -> None:
        start(protocol)
        assert protocol._timer is not None
        started.append(protocol._timer)

    monkeypatch.setattr(bounded_protocol.BoundedProtocol, "_start_timer", counting)
    with httpx.Client(base_url=site.url, timeout=PATIENCE_S) as client:
        for _ in range(2):
            client.get("/telltale/live/")
        assert started
        assert all(timer.cancelled() for timer in started)
