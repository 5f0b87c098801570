"""A server of the HTTP API that records events, and that fails, hangs or refuses as a test wants."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from telltale.pusher.protocol.signatures import body_md5, is_signature, request_text
from telltale.testing.brokers import assert_eventually

APP_ID, KEY, SECRET = "3", "278d425bdf160c739803", "7ad3773142a6692b25b8"

Event = dict[str, Any]


class Recorder:
    """What was sent to one server. `port` stays the same when it stops and starts again."""

    def __init__(self) -> None:
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
        self._server: ThreadingHTTPServer | None = None
        self.port = 0
        self.start()

    @property
    def url(self) -> str:
        """The broker's URL for this server."""
        return f"pusher://{KEY}:{SECRET}@127.0.0.1:{self.port}/{APP_ID}?tls=0"

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

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Close the listening socket and all connections."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def _answer(self, handler: "_Handler") -> None:
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        self.attempts += 1
        self._may_answer.wait(30)
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


class _Handler(BaseHTTPRequestHandler):
    def answer(self, status: int, text: str) -> None:
        """Answer, and close the connection."""
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
def recording() -> Iterator[Recorder]:
    """Yield a recorder that runs until the end of the context."""
    recorder = Recorder()
    try:
        yield recorder
    finally:
        recorder.stop()
