"""The HTTP API of the stand-in over any ASGI server: servers publish and ask about channels.

Every answer is JSON: 200 with the result, or {"error": "…"} with 400 (wrong content), 401 (not authenticated), 403 (the
app is disabled), 404 and 405 (wrong address), 408 and 413 (the body is too slow or too large), 503 (the apps are not
known yet). Nothing is published unless the status is 200.

A request is authenticated before its body is read: only the app's own servers can make this one keep a body.
"""

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final
from weakref import WeakKeyDictionary

from telltale.pusher.app_registry import registry
from telltale.pusher.protocol.api_auth import SignedRequest, authenticate, check_body, claimed_key
from telltale.pusher.protocol.api_query import Parameters
from telltale.pusher.protocol.api_refusal import ApiRefusal, shown
from telltale.pusher.protocol.replays import Replays
from telltale.pusher.pusher_apps import PusherApp
from telltale.pusher.server.api.body import RequestBody
from telltale.pusher.server.api.routes import ApiHost, ApiRequest, find_route
from telltale.transports.http import Disconnected, Receive, Scope, Send

LARGE: Final = 1_000
"""Channels in an answer that is encoded in a thread, so that the event loop is not held up."""

_replays: "WeakKeyDictionary[ApiHost, Replays]" = WeakKeyDictionary()


async def http_api(scope: Scope, receive: Receive, send: Send, server: ApiHost, path: str, *, prefix: str = "") -> None:
    """Answer one request. `path`: decoded, without the prefix below which the server is mounted.

    `prefix`: where clients see the server, if a proxy takes it off. Clients sign the path with or without prefixes.
    """
    body = RequestBody(receive, scope["headers"])
    headers: list[tuple[bytes, bytes]] = []
    try:
        try:
            status, content = 200, await _content(scope, body, server, path, prefix)
        except ApiRefusal as refusal:
            status, content, headers = refusal.status, {"error": refusal.text}, _headers(refusal)
            await body.discard()
    except Disconnected:
        return
    if not body.is_complete and scope.get("http_version", "1.1").startswith("1"):
        headers.append((b"connection", b"close"))
    with suppress(OSError):  # It disconnected while it was written to.
        await _respond(send, status, await _encode(content), headers)


async def _content(scope: Scope, body: RequestBody, server: ApiHost, path: str, prefix: str) -> Any:
    """Return the content of the answer; raises `ApiRefusal`."""
    route, parts = find_route(scope["method"], path)
    if not await registry().wait():
        raise ApiRefusal(503, "The server could not read its apps yet: try again in a few seconds.")
    signed = SignedRequest(
        method=scope["method"], paths=signed_paths(scope, path, prefix), query=scope.get("query_string", b"")
    )
    app = _find_app(parts, signed)
    now = time.time()
    parameters = authenticate(app, signed, now=now)
    content = await body.read(route.max_bytes(app.limits))
    check_body(parameters, content)
    if not app.is_enabled:
        raise ApiRefusal(403, f"The app {app.id} is disabled: enable it on the server.")
    request = ApiRequest(
        app=app,
        parameters=parameters,
        body=content,
        channel=parts.get("channel", ""),
        user_id=parts.get("user", ""),
        admit=_admission(server, app, parameters, now),
    )
    return route.answer(request, server)


def _find_app(parts: Mapping[str, str], signed: SignedRequest) -> PusherApp:
    if "app" in parts:
        app = registry().find_by_id(parts["app"])
        if app is None:
            raise ApiRefusal(404, f"No app has the id {shown(parts['app'])}.")
        return app
    app = registry().find_by_key(claimed_key(signed))
    if app is None:
        raise ApiRefusal(401, "No app has this auth_key.")
    return app


def _admission(server: ApiHost, app: PusherApp, parameters: Parameters, now: float) -> Callable[[], None]:
    def admit() -> None:
        replays = _replays.setdefault(server, Replays())
        timestamp = float(parameters["auth_timestamp"])
        if not replays.admit(app.id, parameters["auth_signature"], timestamp=timestamp, now=now):
            raise ApiRefusal(401, "This very request was accepted already: to send it again, sign it with a new time.")

    return admit


def signed_paths(scope: Scope, path: str, prefix: str = "") -> tuple[str, ...]:
    """Return the forms of the path that a client may have signed: with a prefix or without, decoded or as sent."""
    whole = scope["path"]
    raw = scope.get("raw_path") or b""
    sent = raw.partition(b"?")[0].decode("latin-1")
    mount = whole.removesuffix(path) if whole.endswith(path) else ""
    forms = (path, whole, scope.get("root_path", "") + path, prefix + path, sent, sent.removeprefix(mount))
    return tuple(dict.fromkeys(form for form in forms if form))


async def _encode(content: Any) -> bytes:
    channels = content.get("channels", ())
    text = await asyncio.to_thread(_json, content) if len(channels) > LARGE else _json(content)
    return text.encode()


def _json(content: Any) -> str:
    return json.dumps(content, separators=(",", ":"))


def _headers(refusal: ApiRefusal) -> list[tuple[bytes, bytes]]:
    if refusal.allowed_methods:
        return [(b"allow", refusal.allowed_methods.encode())]
    return [(b"retry-after", b"3")] if refusal.status == 503 else []


async def _respond(send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    headers += [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store, private"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
