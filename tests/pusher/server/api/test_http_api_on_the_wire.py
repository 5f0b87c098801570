"""The HTTP API over real connections: keep-alive after refusals, and clients that don't send what they announce."""

import json
import socket
from collections.abc import Iterator

import pytest

from tests.pusher.clients.stand_in import StandIn
from tests.pusher.server.api.api_caller import MAIN, signed

pytestmark = pytest.mark.service

PATIENCE_S = 40.0
BODY = json.dumps({"name": "e", "channel": "news", "data": "x"}).encode()


@pytest.fixture(scope="module", params=["standalone", "live server"])
def stand_in(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    """A server in each of its forms, which have their own HTTP."""
    directory = tmp_path_factory.mktemp("stand-in")
    options = ["--app-id", MAIN["ID"], "--key", MAIN["KEY"], "--secret", MAIN["SECRET"]]
    is_live = request.param == "live server"
    server = StandIn.live_server(directory, [MAIN]) if is_live else StandIn.standalone(directory, *options)
    yield server
    server.stop()


def connected(stand_in: StandIn) -> socket.socket:
    return socket.create_connection(("127.0.0.1", stand_in.port), timeout=PATIENCE_S)


def request(body: bytes, announced: int, *, is_signed: bool = True) -> bytes:
    query = signed("POST", "/apps/1/events", BODY) if is_signed else {}
    text = "&".join(f"{name}={value}" for name, value in query.items())
    return f"POST /apps/1/events?{text} HTTP/1.1\r\nHost: x\r\nContent-Length: {announced}\r\n\r\n".encode() + body


def read_answer(line: socket.socket) -> bytes:
    """Return one answer, whose content is short."""
    answer = b""
    while b"}" not in answer and (part := line.recv(65_536)):
        answer += part
    return answer


def test_a_connection_serves_further_requests_after_a_refusal(stand_in: StandIn) -> None:
    """P64: the refused bodies are not taken for the next request."""
    with connected(stand_in) as line:
        for is_signed in (False, True, False, True):
            line.sendall(request(BODY, len(BODY), is_signed=is_signed))
            assert read_answer(line).startswith(b"HTTP/1.1 200" if is_signed else b"HTTP/1.1 401")


def test_requests_that_are_sent_at_once_are_answered_in_their_order(stand_in: StandIn) -> None:
    """P64."""
    with connected(stand_in) as line:
        line.sendall(request(BODY, len(BODY)) + request(BODY, len(BODY), is_signed=False))
        answers = b""
        while answers.count(b"HTTP/1.1") < 2:
            part = line.recv(65_536)
            assert part, answers
            answers += part
        assert answers.index(b"200 OK") < answers.index(b"401 Unauthorized")


def test_clients_whose_bodies_do_not_come_are_answered_and_disconnected(stand_in: StandIn) -> None:
    """P57, P64: signed or not, with no body or a part of it; a body of excessive size is not waited for."""
    expected = {
        request(b"", len(BODY)): b"HTTP/1.1 408",
        request(BODY[:5], len(BODY)): b"HTTP/1.1 408",
        request(BODY[:5], len(BODY), is_signed=False): b"HTTP/1.1 401",
        request(BODY[:5], 10**9): b"HTTP/1.1 413",
        request(BODY[:5], 10**9, is_signed=False): b"HTTP/1.1 401",
    }
    lines = {sent: connected(stand_in) for sent in expected}
    for sent, line in lines.items():
        line.sendall(sent)
    for sent, line in lines.items():
        with line:
            assert read_answer(line).startswith(expected[sent])
            assert line.recv(65_536) == b""
