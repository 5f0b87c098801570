"""A real HTTP server that receives webhooks, and answers as a test says."""

import json
import ssl
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from telltale.testing.brokers import TIMEOUT_S, assert_eventually


@dataclass(frozen=True, slots=True)
class Request:
    """One request that arrived. `client`: the address of its connection."""

    path: str
    headers: Message
    body: bytes
    client: Any

    @property
    def events(self) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = json.loads(self.body)["events"]
        return events


Answer = Callable[[BaseHTTPRequestHandler], None]


def status(number: int, **headers: str) -> Answer:
    """Answer with this status and without content."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(number)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def held(until: threading.Event) -> Answer:
    """Answer 200, but only once the event is set."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        until.wait(TIMEOUT_S * 3)
        with suppress(OSError):
            status(200)(handler)

    return answer


def byte_by_byte(until: threading.Event) -> Answer:
    """Answer with headers that never end, one byte at a time, until the client hangs up or the event is set."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        with suppress(OSError):
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            while not until.wait(0.05):
                handler.wfile.write(b"a")
        handler.close_connection = True

    return answer


def hanging_up(handler: BaseHTTPRequestHandler) -> None:
    """Close the connection without an answer."""
    handler.close_connection = True


def then_hanging_up(handler: BaseHTTPRequestHandler) -> None:
    """Answer 200, then close the connection without a word, as servers do with idle ones."""
    status(200)(handler)
    handler.close_connection = True


class Receiver(ThreadingHTTPServer):
    """Answers with `answers`, one for each request, and with 200 when there are no more."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.requests: list[Request] = []
        self.answers: deque[Answer] = deque()
        self.scheme = "http"

    def use_tls(self, certificate: Path, key: Path) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.scheme = "https"

    @property
    def url(self) -> str:
        return f"{self.scheme}://localhost:{self.server_port}/hooks"

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events of all requests."""
        return [event for request in list(self.requests) for event in request.events]

    def wait_for(self, requests: int) -> list[Request]:
        """Return the requests once so many have arrived."""
        assert_eventually(lambda: len(self.requests) >= requests, f"{requests} requests have arrived")
        return list(self.requests)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no error of the test."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        answers = self.server.answers
        answer = answers.popleft() if answers else status(200)
        self.server.requests.append(Request(self.path, self.headers, body, self.client_address))
        answer(self)

    def log_message(self, *_args: object) -> None:
        """Tests have their own reports."""


@contextmanager
def receiving(receiver: Receiver) -> Iterator[Receiver]:
    """Serve until the end of the block."""
    thread = threading.Thread(target=receiver.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.shutdown()
        receiver.server_close()
        thread.join(TIMEOUT_S)
