"""A push service on this machine, and the browsers that it serves: they decrypt what arrives as browsers do."""

import base64
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import http_ece
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

PRIVATE_KEY = "l0sFIqhaCvhGPT0iDzGLlX1cQBqXCZPAdhQMmFjD2Q0"
"""Of the site, for these tests only."""


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@dataclass(frozen=True, kw_only=True)
class Received:
    """A request to the push service."""

    path: str
    headers: dict[str, str]
    body: bytes


class PushBrowser:
    """A browser with a subscription."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._secret = os.urandom(16)

    @property
    def subscription(self) -> dict[str, Any]:
        """What `PushSubscription.toJSON()` returns."""
        point = self._key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        keys = {"p256dh": encoded(point), "auth": encoded(self._secret)}
        return {"endpoint": self.endpoint, "expirationTime": None, "keys": keys}

    def read(self, received: Received) -> dict[str, Any]:
        """Decrypt a message."""
        text = http_ece.decrypt(received.body, private_key=self._key, auth_secret=self._secret, version="aes128gcm")
        message: dict[str, Any] = json.loads(text)
        return message


@dataclass(kw_only=True)
class PushService:
    """Answers each request with the status of `answers` for its path; 201 if it has none."""

    port: int = 0
    answers: dict[str, tuple[int, dict[str, str]]] = field(default_factory=dict)
    received: list[Received] = field(default_factory=list)
    answering: threading.Event = field(default_factory=threading.Event)
    """Until it is set, no request is answered."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def browser(self, name: str = "laptop") -> PushBrowser:
        """A browser that has subscribed here."""
        return PushBrowser(f"{self.url}/push/{name}")

    def answer(self, browser: PushBrowser, status: int, **headers: str) -> None:
        self.answers[browser.endpoint.removeprefix(self.url)] = (
            status,
            {name.replace("_", "-"): value for name, value in headers.items()},
        )

    def to(self, browser: PushBrowser) -> list[dict[str, Any]]:
        """The messages for a browser, as it reads them."""
        path = browser.endpoint.removeprefix(self.url)
        return [browser.read(request) for request in list(self.received) if request.path == path]


@contextmanager
def running_service() -> Iterator[PushService]:
    service = PushService()
    service.answering.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            service.received.append(Received(path=self.path, headers=dict(self.headers), body=body))
            service.answering.wait(60)
            status, headers = service.answers.get(self.path, (201, {}))
            self.send_response(status)
            for name, value in {"Content-Length": "0", **headers}.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quietly."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    service.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield service
    finally:
        service.answering.set()
        server.shutdown()
        thread.join()
        server.server_close()
