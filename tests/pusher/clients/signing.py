"""Signatures, and requests to the HTTP API that are signed by hand: for what the libraries cannot do wrong.

Written from the protocol's documentation, and not with the server's own code, which is under test.
"""

import hashlib
import hmac
import json
import time
from typing import Any
from urllib.parse import quote

import httpx

from tests.pusher.clients.apps import App


def digest(secret: str, text: str) -> str:
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


def channel_auth(app: App, socket_id: str, channel: str, channel_data: str | None = None) -> str:
    """Return `KEY:SIGNATURE` for a subscription."""
    text = f"{socket_id}:{channel}" if channel_data is None else f"{socket_id}:{channel}:{channel_data}"
    return f"{app.key}:{digest(app.secret, text)}"


def user_auth(app: App, socket_id: str, user_data: str) -> str:
    """Return `KEY:SIGNATURE` for a sign-in."""
    return f"{app.key}:{digest(app.secret, f'{socket_id}::user::{user_data}')}"


class Api:
    """The HTTP API of one app. Its connection is kept."""

    def __init__(self, url: str, app: App, prefix: str = "") -> None:
        self.app, self.prefix = app, prefix
        self.http = httpx.Client(base_url=url, timeout=30)

    def get(self, path: str, **parameters: str) -> httpx.Response:
        return self.send("GET", path, None, parameters)

    def post(self, path: str, body: Any, **parameters: str) -> httpx.Response:
        return self.send("POST", path, json.dumps(body).encode(), parameters)

    def publish(self, event: str, channel: str, data: Any, **more: Any) -> dict[str, Any]:
        """Publish; `data` that is no string is sent as JSON."""
        text = data if isinstance(data, str) else json.dumps(data)
        answer = self.post("events", {"name": event, "channel": channel, "data": text, **more})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def send(self, method: str, path: str, body: bytes | None, parameters: dict[str, str]) -> httpx.Response:
        """`path` is below the app's own, unless it begins with a slash."""
        return self.send_as(method, path, body, self.signed(method, path, body, parameters))

    def send_as(self, method: str, path: str, body: bytes | None, query: dict[str, str]) -> httpx.Response:
        """Send a request with exactly this query."""
        encoded = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in query.items())
        url = f"{self.prefix}{self._path(path)}?{encoded}"
        headers = {"Content-Type": "application/json"} if body is not None else {}
        return self.http.request(method, url, content=body, headers=headers)

    def signed(
        self, method: str, path: str, body: bytes | None, parameters: dict[str, str], *, signed_prefix: bool = False
    ) -> dict[str, str]:
        """Return the whole query. Parameters given here win over the usual ones, and are signed."""
        query = {"auth_key": self.app.key, "auth_timestamp": str(int(time.time())), "auth_version": "1.0"}
        if body is not None:
            query["body_md5"] = hashlib.md5(body, usedforsecurity=False).hexdigest()
        return self.with_signature(method, path, {**query, **parameters}, signed_prefix=signed_prefix)

    def with_signature(
        self, method: str, path: str, query: dict[str, str], *, signed_prefix: bool = False
    ) -> dict[str, str]:
        """Return the query with the signature of these parameters."""
        pairs = sorted((name.lower(), value) for name, value in query.items())
        signed_path = (self.prefix if signed_prefix else "") + self._path(path)
        text = f"{method}\n{signed_path}\n" + "&".join(f"{name}={value}" for name, value in pairs)
        return {**query, "auth_signature": digest(self.app.secret, text)}

    def _path(self, path: str) -> str:
        return path if path.startswith("/") else f"/apps/{self.app.id}/{path}"

    def close(self) -> None:
        self.http.close()
