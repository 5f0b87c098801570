"""Sockets of Pusher's clients that bypass ASGI, in real server processes: frames of all forms, slow readers, floods."""

import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from telltale.pusher.server.clients.rate_limits import MESSAGE_BURST
from tests.pusher.clients.apps import MAIN, TLS_ONLY, App
from tests.pusher.clients.raw import QUERY, ClosedByServerError, Message, RawClient
from tests.pusher.clients.signing import Api, channel_auth
from tests.pusher.clients.stand_in import StandIn
from tests.pusher.server import held_apps
from tests.servers import running
from tests.transports.sites import wait_until
from tests.transports.slow import KEY, masked

pytestmark = pytest.mark.service

BIG = App.number(20, LIMITS={"EVENT_BYTES": 1_000_000})
APPS = [app.setting() for app in (MAIN, BIG, TLS_ONLY)]

UVICORN = "uvicorn tests.transports.application:application --timeout-graceful-shutdown 5 --log-level warning"

FORMS: dict[str, Callable[[Path], StandIn]] = {
    "telltale.pusher": lambda directory: standalone(directory),
    "telltale serve": lambda directory: StandIn.live_server(directory, APPS),
    "uvicorn, only --ws": lambda directory: StandIn.in_project(
        directory, [*UVICORN.split(), "--ws", "telltale.server:WebSocketProtocol"], PUSHER_APPS=APPS
    ),
}

Join = Callable[..., RawClient]


def standalone(directory: Path) -> StandIn:
    path = directory / "apps.json"
    path.write_text(json.dumps(APPS))
    return StandIn.standalone(directory, "--apps", str(path))


@pytest.fixture(scope="module", params=FORMS)
def any_server(request: pytest.FixtureRequest) -> Iterator[StandIn]:
    """A server in each of the forms in turn."""
    with running(FORMS[request.param]) as server:
        yield server
        assert "Traceback" not in server.output(), server.output()


@pytest.fixture(scope="module")
def server() -> Iterator[StandIn]:
    """A server in one form: all forms share the code for what clients send."""
    with running(standalone) as server:
        yield server
        assert "Traceback" not in server.output(), server.output()


@pytest.fixture
def join() -> Iterator[Join]:
    """`join(server, "news")`: a client that is subscribed to a channel, or to none."""
    with ExitStack() as stack:

        def join(server: StandIn, channel: str = "", app: App = MAIN) -> RawClient:
            client = RawClient(server.port, f"/app/{app.key}?{QUERY}")
            stack.callback(client.vanish)
            client.establish()
            if channel:
                auth = channel_auth(app, client.socket_id, channel) if channel.startswith("private-") else None
                assert client.subscribe(channel, auth)["event"] == "pusher_internal:subscription_succeeded"
            return client

        yield join


@pytest.fixture
def publish() -> Iterator[Callable[..., Any]]:
    """`publish(server, "news", "text")`: by the HTTP API."""
    with ExitStack() as stack:
        apis: dict[str, Api] = {}

        def publish(server: StandIn, channel: str, data: str, app: App = MAIN) -> None:
            if app.id not in apis:
                apis[app.id] = Api(server.url, app)
                stack.callback(apis[app.id].close)
            apis[app.id].publish("happened", channel, data)

        yield publish


Publish = Callable[..., None]


def subscriber_count(server: StandIn, channel: str, app: App = MAIN) -> int:
    api = Api(server.url, app)
    with ExitStack() as stack:
        stack.callback(api.close)
        return int(api.get(f"channels/{channel}", info="subscription_count").json()["subscription_count"])


# The way in


def test_the_sockets_are_served_without_asgi(any_server: StandIn) -> None:
    """Sockets over ASGI name uvicorn in their answer."""
    assert b"server: uvicorn" not in handshake(any_server, f"/app/{MAIN.key}?{QUERY}")
    assert b"server: uvicorn" not in handshake(any_server, f"/app/{MAIN.key.replace('k', '%6B')}/?{QUERY}")


def test_sockets_of_other_addresses_are_served_by_asgi(server: StandIn) -> None:
    """P6."""
    assert b"server: uvicorn" in handshake(server, "/elsewhere")
    client = RawClient(server.port, "/elsewhere")
    assert client.closing()[0] == 4005
    client.close()


def handshake(server: StandIn, path: str, *, version: int = 13, verb: str = "GET") -> bytes:
    """Return the head of the answer, in small letters."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as line:
        line.sendall(
            f"{verb} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: {version}\r\n\r\n".encode()
        )
        answer = b""
        while b"\r\n\r\n" not in answer:
            data = line.recv(65_536)
            assert data, answer
            answer += data
    return answer.partition(b"\r\n\r\n")[0].lower()


def test_a_wrong_handshake_is_refused(any_server: StandIn) -> None:
    path = f"/app/{MAIN.key}?{QUERY}"
    assert b" 426 " in handshake(any_server, path, version=8).partition(b"\r\n")[0]
    assert b" 40" in handshake(any_server, path, verb="POST").partition(b"\r\n")[0]


def test_a_connection_that_is_refused_is_accepted_and_closed_with_its_code(any_server: StandIn) -> None:
    """P4."""
    for path, code in ((f"/app/unknown?{QUERY}", 4001), (f"/app/{MAIN.key}", 4008)):
        client = RawClient(any_server.port, path)
        assert client.closing()[0] == code
        client.close()


def test_a_trusted_proxy_says_whether_a_client_uses_tls(server: StandIn) -> None:
    """P6."""
    path = f"/app/{TLS_ONLY.key}?{QUERY}"
    RawClient(server.port, path, [("X-Forwarded-Proto", "https")]).establish().close()
    client = RawClient(server.port, path, [("X-Forwarded-Proto", "http")])
    assert client.closing()[0] == 4000
    client.close()


def test_a_client_that_comes_before_the_apps_are_known_waits_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = tmp_path / "ready"
    monkeypatch.setenv(held_apps.VARIABLE, str(ready))
    words = ["telltale.server", "--drain-s", "5"]
    apps = "tests.pusher.server.held_apps.apps"
    with running(lambda directory: StandIn.in_project(directory, words, PUSHER_APPS=apps)) as server:
        client = RawClient(server.port, f"/app/{MAIN.key}?{QUERY}")
        leaving = RawClient(server.port, f"/app/{MAIN.key}?{QUERY}")
        leaving.vanish()
        client.ask_for("news")
        ready.touch()
        client.establish()
        client.expect("pusher_internal:subscription_succeeded")
        client.close()
        assert "Traceback" not in server.output()


# Events


def test_a_channel_with_more_subscribers_than_a_slice_receives_all_in_order(
    any_server: StandIn, join: Join, publish: Publish
) -> None:
    """P16."""
    clients = [join(any_server, "crowd") for _ in range(600)]
    sent = [f"{number} {'x' * (number % 7 * 1_500)}" for number in range(20)]
    for text in sent:
        publish(any_server, "crowd", text)
    for client in clients:
        assert [client.expect("happened")["data"] for _ in sent] == sent


def test_large_events_arrive_whole(any_server: StandIn, join: Join, publish: Publish) -> None:
    """Each is longer than what a connection may buffer."""
    client = join(any_server, "news", BIG)
    for size in (70_000, 1_000_000):
        text = "é" * (size // 2)
        publish(any_server, "news", text, BIG)
        assert client.expect("happened")["data"] == text


def test_a_large_message_of_a_client_is_relayed_in_whatever_pieces_it_comes(server: StandIn, join: Join) -> None:
    """P13, P37."""
    sender, receiver = join(server, "private-x", BIG), join(server, "private-x", BIG)
    text = "é" * 100_000
    message = json.dumps({"event": "client-x", "channel": "private-x", "data": text}, ensure_ascii=False)
    sender.send_text(message)
    assert receiver.expect("client-x")["data"] == text
    # In an odd place: within a character, with a ping in between.
    data = message.encode()
    fragments = masked(data[:101], fin=False) + masked(b"hi", 9) + masked(data[101:777], 0, fin=False)
    sender.socket.sendall(fragments + masked(data[777:], 0))
    assert receiver.expect("client-x")["data"] == text
    assert sender.ping(b"end") in {b"hi", b"end"}


def test_a_message_sent_byte_by_byte_is_read(server: StandIn, join: Join) -> None:
    client = join(server)
    for byte in masked(b'{"event":"pusher:ping"}'):
        client.socket.sendall(bytes([byte]))
    client.expect("pusher:pong")


def test_hundreds_of_messages_in_one_go_are_answered_in_their_order(server: StandIn, join: Join) -> None:
    """A client that reconnects subscribes to all its channels."""
    client = join(server)
    names = [f"channel-{number}" for number in range(1_000)]
    messages = (json.dumps({"event": "pusher:subscribe", "data": {"channel": name}}) for name in names)
    client.socket.sendall(b"".join(masked(message.encode()) for message in messages))
    assert [client.expect("pusher_internal:subscription_succeeded")["channel"] for _ in names] == names


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\xff" * 20, 1002),
        (b"\x81\x05hello", 1002),  # not masked
        (masked(b"x", 0), 1002),  # the rest of no message
        (masked(b"\xff\xfe"), 1007),  # no UTF-8
        (masked(b"\xff", fin=False) + masked(b"\xfe", 0), 1007),
        (b"\x81\xff" + (1 << 62).to_bytes(8, "big"), 1009),
    ],
)
def test_a_protocol_error_ends_only_its_own_connection(server: StandIn, join: Join, data: bytes, code: int) -> None:
    """P12."""
    good, bad = join(server), join(server)
    bad.socket.sendall(data)
    assert bad.closing()[0] == code
    good.expect_silence()


def test_half_a_frame_changes_nothing_for_other_clients(server: StandIn, join: Join) -> None:
    halves, whole = join(server), join(server)
    ping = masked(b'{"event":"pusher:ping"}')
    for cut in range(1, len(ping), 5):
        halves.socket.sendall(ping[:cut])
        whole.expect_silence()
        halves.socket.sendall(ping[cut:])
        halves.expect("pusher:pong")


def test_a_closing_frame_is_answered_and_the_client_forgotten(server: StandIn, join: Join) -> None:
    client = join(server, "left")
    client.socket.sendall(masked((1001).to_bytes(2, "big"), 8))
    assert client.closing()[0] == 1001
    with suppress(ConnectionResetError):  # Both sides have said that they close: the line may end either way.
        assert client.socket.recv(1) == b""
    wait_until(lambda: subscriber_count(server, "left") == 0, "the client is forgotten")


# Slow readers and floods


def test_a_client_that_does_not_read_is_closed_as_too_slow_and_others_are_unaffected(
    any_server: StandIn, join: Join, publish: Publish
) -> None:
    """It can still read what was written before, and the reason."""
    slow, good = join(any_server, "news", BIG), join(any_server, "news", BIG)
    sent = 0
    while subscriber_count(any_server, "news", BIG) == 2:
        assert sent < 1_000, "The slow client is still there."
        publish(any_server, "news", f"{sent} {'x' * 100_000}", BIG)
        assert good.expect("happened")["data"].partition(" ")[0] == str(sent)
        sent += 1
    received, code = read_to_the_end(slow)
    assert code == 4203
    numbers = [int(message["data"].partition(" ")[0]) for message in received]
    assert numbers == list(range(len(numbers)))
    assert 0 < len(numbers) < sent
    publish(any_server, "news", "last", BIG)
    assert good.expect("happened")["data"] == "last"


def read_to_the_end(client: RawClient) -> tuple[list[Message], int]:
    """Return all messages, and the code of the closing frame."""
    messages = []
    try:
        while True:
            messages.append(client.message())
    except ClosedByServerError as closed:
        return messages, int.from_bytes(closed.args[0][:2], "big")


MEBIBYTE = 1_048_576


def test_what_waits_for_clients_that_do_not_read_is_bounded(join: Join, publish: Publish) -> None:
    """Fifty megabytes are published while three clients read nothing."""
    with running(standalone) as server:
        text = "x" * 500_000
        good = join(server, "news", BIG)
        for _ in range(5):
            publish(server, "news", text, BIG)
            good.expect("happened")
        before = resident_bytes(server)
        slow = [join(server, "news", BIG) for _ in range(3)]
        for client in slow:
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        most = 0
        for _ in range(100):
            publish(server, "news", text, BIG)
            good.expect("happened")
            most = max(most, resident_bytes(server))
        wait_until(lambda: subscriber_count(server, "news", BIG) == 1, "the slow clients are closed")
        assert most - before < 24 * MEBIBYTE


def resident_bytes(server: StandIn) -> int:
    pages = Path(f"/proc/{server.pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize(
    "frame",
    [masked(b"", 9), masked(b"", 10), masked(b""), masked(b"{}"), masked(b"", 0, fin=False)],
    ids=["pings", "pongs", "empty messages", "messages", "fragments"],
)
def test_a_flood_of_tiny_frames_is_closed_and_others_are_unaffected(
    server: StandIn, join: Join, publish: Publish, frame: bytes
) -> None:
    """Little more is answered than what a client may send at once."""
    good, flooding = join(server, "news"), join(server)
    start = masked(b"", fin=False) if frame == masked(b"", 0, fin=False) else b""
    flooding.socket.sendall(start + frame * (200_000 // len(frame)))
    publish(server, "news", "still here")
    assert good.expect("happened")["data"] == "still here"
    answers, code = read_to_the_end(flooding)
    assert code == 4102
    assert len(answers) <= MESSAGE_BURST + 500
    good.expect_silence()


# Shutdown


@pytest.mark.parametrize("form", FORMS)
def test_a_server_that_stops_closes_all_clients_cleanly(form: str, join: Join) -> None:
    """P36: also one that does not answer, and one that is in the middle of a frame."""
    with running(FORMS[form]) as server:
        clients = [join(server, "news") for _ in range(60)]
        clients[0].socket.sendall(masked(b'{"event":"pusher:ping"}')[:7])
        server.begin_stop()
        codes = set()
        for client in clients:
            codes.add(client.closing()[0])
            with suppress(OSError):
                client.close()
        assert codes == {4101, 4200}
        wait_until(lambda: not server.is_alive, "the server exits")
        assert "Traceback" not in server.output(), server.output()
