"""The live server's sockets, byte by byte: what clients may send, in pieces of any size, and what they may not."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.frames import Opcode
from websockets.protocol import Protocol, Side

import telltale
from telltale.server.socket_protocol import SLICE_BYTES, Parsers
from telltale.server.websocket_protocol import MAX_MESSAGE_BYTES, WebSocketProtocol
from telltale.transports.websocket import BURST
from tests.transports.raw import UPGRADE, Line, Socket, hello, pause
from tests.transports.sites import LINGER_S, ThreadSite, in_a_thread, wait_until
from tests.transports.slow import masked

pytestmark = pytest.mark.service


@pytest.fixture
def site(transactional_db: None) -> Iterator[ThreadSite]:
    with in_a_thread("live") as site:
        yield site


def close_frame(code: int = 1000) -> bytes:
    return masked(code.to_bytes(2, "big"), 8)


# The handshake


def test_s26_s39_a_handshake_is_accepted_without_extensions(site: ThreadSite) -> None:
    with Line(site) as line:
        answer = line.request(*UPGRADE, "Sec-WebSocket-Extensions: permessage-deflate").read_until(b"\r\n\r\n").lower()
    assert b" 101 " in answer
    assert b"sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=" in answer
    assert b"extensions" not in answer


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ((*UPGRADE[:2], UPGRADE[3]), b" 400 "),
        ((*UPGRADE[:2], "Sec-WebSocket-Key: short", UPGRADE[3]), b" 400 "),
        ((*UPGRADE[:2], "Sec-WebSocket-Key: \xff\xfe", UPGRADE[3]), b" 400 "),
        ((*UPGRADE[:3], "Sec-WebSocket-Version: 8"), b" 426 "),
        ((*UPGRADE, "Origin: https://evil.example"), b" 403 "),
        ((*UPGRADE, "Origin: null"), b" 403 "),
    ],
)
def test_a_wrong_handshake_is_refused_and_the_connection_closed(
    site: ThreadSite, headers: tuple[str, ...], status: bytes
) -> None:
    with Line(site) as line:
        assert status in line.request(*headers).read_to_end().partition(b"\r\n")[0]


@pytest.mark.parametrize(
    "data", [b"\x00" * 50, b"GET / HTTP/9\r\n\r\n", b"GET /telltale/live/ HTTP/1.1\r\nHost\r\n\r\n"]
)
def test_garbage_instead_of_a_handshake_opens_no_socket(site: ThreadSite, data: bytes) -> None:
    with Line(site) as line:
        assert b" 101 " not in line.send(data).read_to_end()
    with Socket(site):
        pass


def test_a_post_opens_no_socket(site: ThreadSite) -> None:
    with Line(site) as line:
        assert b" 400 " in line.request(*UPGRADE, "Content-Length: 0", verb="POST").read_to_end().partition(b"\r\n")[0]


def test_a_handshake_sent_byte_by_byte_is_accepted(site: ThreadSite) -> None:
    lines = ["GET /telltale/live/ HTTP/1.1", f"Host: 127.0.0.1:{site.port}", *UPGRADE]
    with Line(site) as line:
        for byte in "\r\n".join([*lines, "", ""]):
            line.send(byte)
        assert b" 101 " in line.read_until(b"\r\n\r\n")


# Messages of clients


def test_a_ping_is_answered_with_its_content_and_a_pong_is_not_answered(site: ThreadSite) -> None:
    with Socket(site) as client:
        client.send(masked(b"unasked", 10) + masked(b"Are you there?", 9))
        frame = client.frame()
    assert frame is not None
    assert (frame.opcode, bytes(frame.data)) == (Opcode.PONG, b"Are you there?")


def test_a_message_sent_byte_by_byte_is_read(site: ThreadSite) -> None:
    with Socket(site, None) as client:
        for byte in masked(hello("project:7")):
            client.send(bytes([byte]))
        assert client.message()["type"] == "hello"


def test_many_messages_sent_together_are_all_read(site: ThreadSite) -> None:
    with Socket(site) as client:
        client.send(masked(json.dumps({"type": "ack", "n": 1}).encode()) * 20 + masked(b"last", 9))
        frame = client.frame()
    assert frame is not None
    assert bytes(frame.data) == b"last"


@pytest.mark.parametrize(
    "fragments",
    [masked(b"{", fin=False), masked(b"{", 2, fin=False) + masked(b"}", 0), masked(b"}", 0)],
    ids=["a beginning", "both", "an end"],
)
def test_s38_a_message_in_several_frames_is_refused(site: ThreadSite, fragments: bytes) -> None:
    with Socket(site) as client:
        assert client.send(fragments).closing()[0] in {1002, 1003}
        assert client.frame() is None
    until_all_have_left()


def test_half_a_frame_changes_nothing_for_other_clients(site: ThreadSite) -> None:
    with Socket(site) as client, Socket(site) as other:
        client.send(masked(b"x" * 100)[:50])
        telltale.publish("project:7", "x", 1)
        assert client.event() == other.event() == 1
    until_all_have_left()


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\xff" * 20, 1002),
        (b"\x81\x05hello", 1002),  # not masked
        (masked(b"", 3), 1002),  # no such opcode
        (masked(b"x" * 126, 9), 1002),  # a control frame that is too long
        (masked(b"x" * (MAX_MESSAGE_BYTES + 1)), 1009),
        (b"\x81\xff" + (1 << 62).to_bytes(8, "big"), 1009),
        (masked(b"x", 8), 1002),  # half a closing code
    ],
)
def test_a_protocol_error_ends_only_its_own_connection(site: ThreadSite, data: bytes, code: int) -> None:
    with Socket(site) as good, Socket(site) as bad:
        assert bad.send(data).closing()[0] == code
        assert bad.frame() is None
        good.send(masked(b"still", 9))
        frame = good.frame()
        assert frame is not None
        assert bytes(frame.data) == b"still"


def test_a_message_above_our_own_limit_is_answered_with_the_reason(site: ThreadSite) -> None:
    with Socket(site) as client:
        code, messages = client.send(masked(b"x" * 20_000)).closing()
    assert code == messages[-1]["code"] == 4400


def test_halves_and_whole_frames_of_two_clients_are_not_mixed_up(site: ThreadSite) -> None:
    with Socket(site) as halves, Socket(site) as whole:
        for n in range(20):
            frame = masked(f"half {n}".encode(), 9)
            halves.send(frame[: 1 + n % (len(frame) - 1)])
            pause()
            whole.send(masked(f"whole {n}".encode(), 9))
            pause()
            halves.send(frame[1 + n % (len(frame) - 1) :])
        for client, name in ((halves, "half"), (whole, "whole")):
            pongs = [client.frame() for _ in range(20)]
            assert [bytes(pong.data) for pong in pongs if pong] == [f"{name} {n}".encode() for n in range(20)]


def test_a_client_that_closes_does_not_close_the_shared_parser(site: ThreadSite) -> None:
    with Socket(site) as staying:
        for _ in range(5):
            with Socket(site) as leaving:
                assert leaving.send(masked(b"first", 9) + close_frame() + masked(b"after", 9)).frame() is not None
                assert leaving.closing()[0] == 1000
            staying.send(masked(b"still", 9))
            frame = staying.frame()
            assert frame is not None
            assert bytes(frame.data) == b"still"


# The end


def test_a_closing_frame_is_answered_once_and_the_client_forgotten(site: ThreadSite) -> None:
    with Socket(site) as client:
        assert client.send(close_frame(1001)).closing() == (1001, [])
        assert client.frame() is None
        until_all_have_left()


def test_a_client_that_disconnects_is_forgotten(site: ThreadSite) -> None:
    with Socket(site):
        pass
    until_all_have_left()


def test_the_server_sends_nothing_after_its_closing_frame(site: ThreadSite) -> None:
    with Socket(site, ttl_s=2.0) as client:
        code, messages = client.closing()
        assert (code, messages[-1]["type"]) == (4402, "bye")
        client.send(masked(b"late", 9) + close_frame(4402))
        assert client.frame() is None
    until_all_have_left()


def test_a_client_that_does_not_answer_the_closing_frame_is_cut_off(site: ThreadSite) -> None:
    began = time.monotonic()
    with Socket(site, ttl_s=2.0) as client:
        client.closing()
        assert client.frame() is None
        assert time.monotonic() - began > 2 + LINGER_S - 0.5
    until_all_have_left()


def test_after_a_protocol_error_nothing_more_is_sent(site: ThreadSite) -> None:
    with Socket(site) as client:
        client.send(b"\x81\x05hello")
        telltale.publish("project:7", "x", 1)
        assert client.closing()[0] == 1002
        assert client.frame() is None


# Floods

ACK = masked(b'{"type":"ack","n":0}')


@pytest.fixture
def frames_read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of frames that the server's parsers returned at each call."""
    counts: list[int] = []

    class Counting(Protocol):
        def events_received(self) -> list[Any]:
            events = super().events_received()
            counts.append(len(events))
            return events

    class CountingParsers(Parsers):
        def new(self) -> Protocol:
            return Counting(Side.SERVER, max_size=MAX_MESSAGE_BYTES)

    monkeypatch.setattr(WebSocketProtocol, "parsers", CountingParsers(MAX_MESSAGE_BYTES))
    return counts


@pytest.mark.parametrize("beginning", [b"", ACK[:7]], ids=["whole frames", "after half a frame"])
@pytest.mark.parametrize("frame", [masked(b"", 9), masked(b"", 10), ACK], ids=["pings", "pongs", "messages"])
def test_s38_a_flood_of_tiny_frames_is_closed_before_it_is_read_and_others_are_unaffected(
    site: ThreadSite, frames_read: list[int], frame: bytes, beginning: bytes
) -> None:
    with Socket(site) as other, Socket(site) as client:
        frames_read.clear()
        client.send(beginning)
        pause()
        client.send(ACK[len(beginning) :] + frame * (200_000 // len(frame)))
        code, messages = client.texts_and_closing()
        telltale.publish("project:7", "x", 1)
        assert other.event() == 1
    assert (code, messages[-1]["reason"]) == (4008, "rate")
    assert sum(frames_read) <= BURST + SLICE_BYTES / len(masked(b""))
    until_all_have_left()


@pytest.mark.parametrize("frame", [masked(b"", 9), masked(b"", 10)], ids=["pings", "pongs"])
def test_s38_single_control_frames_count_as_messages_do(site: ThreadSite, frame: bytes) -> None:
    with Socket(site) as client:
        for _ in range(int(BURST) // 2):
            client.send(frame + ACK)
        client.send(frame * 60)
        assert client.texts_and_closing()[0] == 4008
    until_all_have_left()


def test_a_flood_after_bye_is_not_read_either(site: ThreadSite, frames_read: list[int]) -> None:
    with Socket(site) as client:
        frames_read.clear()
        client.send(masked(b"nonsense"))
        assert client.closing()[0] == 4400
        client.send(masked(b"", 9) * 30_000)
        assert client.frame() is None
    assert sum(frames_read) <= BURST + SLICE_BYTES / len(masked(b""))


# The limits


@pytest.mark.parametrize(
    ("an_address", "another", "the_same"),
    [
        ("198.51.100.1", "198.51.100.2", "198.51.100.1:99"),
        # One customer has all addresses of an IPv6 /64 network.
        ("2001:db8:1:2::1", "2001:db8:1:3::1", "[2001:db8:1:2:ffff::2]:99"),
    ],
)
def test_s36_connections_of_one_address_are_limited_whatever_header_it_sends(
    site: ThreadSite, settings: Any, an_address: str, another: str, the_same: str
) -> None:
    settings.TELLTALE = settings.TELLTALE | {"CONNECTIONS_PER_ADDRESS": 1}

    def connect(address: str) -> Line:
        return Line(site).request(*UPGRADE, "X-Forwarded-For: 1.1.1.1", f"X-Forwarded-For: {address}")

    with connect(an_address) as first, connect(another) as other, connect(the_same) as second:
        for line in (first, other, second):
            assert b" 101 " in line.read_until(b"\r\n\r\n")
        assert b"4429" in second.read_until(b"}")
        for line in (first, other):
            line.send(masked(hello("project:7")))
            assert b'"hello"' in line.read_until(b"}")


def test_s36_connections_of_one_process_are_limited(site: ThreadSite, settings: Any) -> None:
    settings.TELLTALE = settings.TELLTALE | {"CONNECTIONS": 2}
    with Socket(site), Socket(site):
        with Socket(site, None) as third:
            code, messages = third.closing()
        assert code == messages[-1]["code"] == 4429
        assert messages[-1]["again"] == "later"
    until_all_have_left()
    with Socket(site):
        pass


def until_all_have_left() -> None:
    """Wait until the driver of the test's server has no client."""
    from telltale.live.driver import _drivers

    wait_until(
        lambda: sum(driver.connection_count for driver in _drivers.values() if not driver._loop.is_closed()) == 0,
        "all clients have left",
    )
