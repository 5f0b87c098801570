"""The live address over real servers: cookies count for nothing, and strange handshakes get a plain refusal."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from telltale.core.topics import user_topic
from telltale.live import tickets
from tests.factories import person
from tests.live.test_rights import signed_in
from tests.transports.raw import UPGRADE, Line, Socket
from tests.transports.sites import CLASSES, ThreadSite, in_a_thread
from tests.transports.test_websocket import bye_and_close_code

pytestmark = pytest.mark.service


@pytest.fixture(params=[*CLASSES])
def site(request: pytest.FixtureRequest, transactional_db: None) -> Iterator[ThreadSite]:
    with in_a_thread(request.param) as site:
        yield site


def assert_serves(site: ThreadSite) -> None:
    with Socket(site):
        pass


def test_s02_s08_s14_without_a_ticket_in_its_place_no_transport_opens_whatever_the_cookie_says(
    site: ThreadSite,
) -> None:
    ada = person("ada")
    cookie = {"Cookie": f"sessionid={signed_in(ada).cookies['sessionid'].value}"}
    address = f"{site.live}?ticket={tickets.issue([user_topic(ada.pk)])}"
    for accept in ("application/json", "text/event-stream"):
        for method in ("GET", "POST"):
            refusal = httpx.request(method, address, headers=cookie | {"Accept": accept})
            assert (refusal.status_code, refusal.json()["code"]) == (401, 4401)
    with site.socket(additional_headers=cookie) as socket:
        socket.send('{"type":"hello","v":1}')
        assert bye_and_close_code(socket)[1] == 4401


def test_s01_s02_a_foreign_page_opens_no_socket(site: ThreadSite) -> None:
    own = f"127.0.0.1:{site.port}"
    for origin in (
        "null",
        "file://",
        "https://evil.example",
        f"ftp://{own}",
        f"http://x@{own}",
        f"http://{own}.evil.example",
    ):
        with pytest.raises(InvalidStatus, match="403"), site.socket(origin=origin):
            pass


SUBPROTOCOLS = {
    "non-ASCII": "Sec-WebSocket-Protocol: \xe9\xff".encode("latin-1"),
    "UTF-8": "Sec-WebSocket-Protocol: é, ü".encode(),
    "1,000 items": b"Sec-WebSocket-Protocol: " + b", ".join(b"p%d" % n for n in range(1_000)),
    "empty items": b"Sec-WebSocket-Protocol: ,,,,",
}
HEADERS = {
    "vertical tab": b"X-A: a\x0bb",
    "next line": b"X-A: a\x85b",
    "NUL": b"X-A: a\x00b",
    "escape": b"User-Agent: \x1b[2J\x85",
    "control in a name": b"X\x0bA: b",
    "space in a name": b"X A: b",
    "bare line feed": b"X-A: a\nX-Forged: b",
    "obsolete folding": b"X-A: a\r\n b",
}


def test_s42_s43_strange_headers_of_a_handshake_get_a_plain_answer_and_the_server_lives(site: ThreadSite) -> None:
    for name, line in (SUBPROTOCOLS | HEADERS).items():
        lines = [f"Host: 127.0.0.1:{site.port}".encode(), *map(str.encode, UPGRADE), line]
        with Line(site) as client:
            client.socket.sendall(b"GET /telltale/live/ HTTP/1.1\r\n" + b"\r\n".join(lines) + b"\r\n\r\n")
            status = client.read_until(b"\r\n").split()[1]
        assert status == b"101" or status.startswith(b"4"), name
    assert_serves(site)


def test_s42_strange_bytes_in_an_address_get_a_plain_answer_and_the_server_lives(site: ThreadSite) -> None:
    for path in (
        b"/telltale/live/?\x85\xff",
        b"/%00%0d%0aX-Forged: 1",
        b"/telltale/live/%ff",
        b"//\\..//",
        b"*",
        b"\xc3\xa9",
    ):
        with Line(site) as client:
            head = b"GET " + path + b" HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
            client.socket.sendall(head)
            answer: Any = client.read_to_end()
        assert not answer or answer.split()[1].startswith((b"4", b"2")), answer
        assert b"X-Forged: 1\r\n" not in answer
    assert_serves(site)
