"""A server of the HTTP API that records events, and that fails, hangs or refuses as a test wants."""

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from telltale.pusher.protocol.signatures import body_md5, is_signature, request_text
from telltale.testing.brokers import assert_eventually

APP_ID, KEY, SECRET = "3", "278d425bdf160c739803", "7ad3773142a6692b25b8"

Event = dict[str, Any]


class Recorder:
    """A server and the events that it got. `port` stays the same when it stops and starts again."""

    def __init__(self, certificate: Path | None = None) -> None:
        """`certificate`: a file with a certificate and its key, for TLS."""
        self._certificate = certificate
        self.requests: list[list[Event]] = []
        """The events of each request that was accepted."""
        self.status = 200
        """The answer to every request, unless `refuses` is true for one of its events."""
        self.body = "{}"
        self.refuses: Callable[[Event], bool] = lambda event: False
        self.errors: list[str] = []
        """Requests that were not signed as the protocol says."""
        self.attempts = 0
        self._may_answer = threading.Event()
        self._may_answer.set()
        self.requests_per_connection = 1_000
        """A further request on the same connection is not answered: the server closes it."""
        self._server: ThreadingHTTPServer | None = None
        self._connections: list[socket.socket] = []
        self.port = 0
        self.start()

    @property
    def url(self) -> str:
        """The broker's URL for this server."""
        tls = f"ca_certs={self._certificate}" if self._certificate else "tls=0"
        return f"pusher://{KEY}:{SECRET}@localhost:{self.port}/{APP_ID}?{tls}"

    @property
    def events(self) -> list[Event]:
        """All events that were accepted, in order."""
        return [event for request in self.requests for event in request]

    def named(self, name: str) -> list[Any]:
        """The data of the accepted events of this name."""
        return [json.loads(event["data"]) for event in self.events if event["name"] == name]

    def assert_received(self, *names: str) -> None:
        """Wait until events of all these names have been accepted."""
        assert_eventually(
            lambda: set(names) <= {event["name"] for event in self.events}, f"the events {names} are received"
        )

    @contextmanager
    def holding_answers(self) -> Iterator[None]:
        """Read requests within this context, and answer none before it ends."""
        self._may_answer.clear()
        try:
            yield
        finally:
            self._may_answer.set()

    def start(self) -> None:
        """Accept connections."""
        recorder = self

        class Handler(_Handler):
            def do_POST(self) -> None:
                recorder._answer(self)

        self._server = _QuietServer(("127.0.0.1", self.port), Handler)
        if self._certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self._certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Close the listening socket and all connections."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._connections.clear()

    def _answer(self, handler: "_Handler") -> None:
        handler.answered += 1
        if handler.answered == 1:
            self._connections.append(handler.connection)
        if handler.answered > self.requests_per_connection:
            handler.close_connection = True
            return
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        self.attempts += 1
        self._may_answer.wait(60)
        problem = _problem(handler.path, body)
        batch = json.loads(body)["batch"]
        status, answer = self.status, self.body
        if problem is not None:
            self.errors.append(problem)
            status, answer = 401, problem
        elif status == 200 and any(self.refuses(event) for event in batch):
            status, answer = 400, "One of the events is wrong."
        elif status == 200:
            self.requests.append(batch)
        handler.answer(status, answer)


class _QuietServer(ThreadingHTTPServer):
    def handle_error(self, *_args: object) -> None:
        """Write nothing to the tests' output: some clients end the connection."""


class _Handler(BaseHTTPRequestHandler):
    """One connection, which is kept alive."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    answered = 0

    def answer(self, status: int, text: str) -> None:
        """Answer one request."""
        self.send_response(status)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_args: object) -> None:
        """Write nothing to the tests' output."""


def _problem(path: str, body: bytes) -> str | None:
    split = urlsplit(path)
    query = dict(parse_qsl(split.query))
    text = request_text("POST", split.path, query.items())
    if split.path != f"/apps/{APP_ID}/batch_events":
        return f"The path {split.path} is not that of a batch."
    if query.get("auth_key") != KEY or not is_signature(SECRET, text, query.get("auth_signature")):
        return "The signature is wrong."
    if query.get("body_md5") != body_md5(body):
        return "The body is not the one that was signed."
    return None


@contextmanager
def recording(certificate: Path | None = None) -> Iterator[Recorder]:
    """Yield a recorder that runs until the end of the context."""
    recorder = Recorder(certificate)
    try:
        yield recorder
    finally:
        recorder.stop()
