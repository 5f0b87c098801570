"""Authentication of requests to the HTTP API: the signature, the time and the digest of the body.

The query holds `auth_key`, `auth_timestamp`, `auth_version`, `auth_signature` and, with a body, `body_md5`. The
signature covers the method, the path and all other parameters, so it can be checked before the body is read.
"""

import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from telltale.pusher.protocol.api_query import Parameters, readings
from telltale.pusher.protocol.api_refusal import ApiRefusal, shown
from telltale.pusher.protocol.signatures import (
    CLOCK_TOLERANCE_S,
    HTTP_AUTH_VERSION,
    body_md5,
    is_signature,
    request_text,
)
from telltale.pusher.pusher_apps import PusherApp

REQUIRED: Final = ("auth_key", "auth_timestamp", "auth_version", "auth_signature")

_SECONDS: Final = re.compile(r"[0-9]{1,12}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedRequest:
    """A request to the HTTP API, without its body."""

    method: str
    paths: tuple[str, ...]
    """The forms in which the client may have signed the path: with and without a mount prefix, for example."""
    query: bytes
    """Everything after the question mark, as it was sent."""


def claimed_key(request: SignedRequest) -> str:
    """Return the key of the app that the request names, which is not verified; raises `ApiRefusal` without one."""
    return _required(next(readings(request.query)), "auth_key")


def authenticate(app: PusherApp, request: SignedRequest, *, now: float) -> Parameters:
    """Return the query's parameters; raises `ApiRefusal` unless the app's secret signed the request.

    `now`: seconds since 1970. The body is not part of this: see `check_body`.
    """
    parameter_sets = list(readings(request.query))
    claimed = parameter_sets[0]
    values = {name: _required(claimed, name) for name in REQUIRED}
    if not hmac.compare_digest(_bytes(values["auth_key"]), app.key.encode()):
        raise ApiRefusal(401, f"auth_key is not the key of the app {app.id}.")
    if values["auth_version"] != HTTP_AUTH_VERSION:
        raise ApiRefusal(401, f"auth_version is {shown(values['auth_version'])}: it must be {HTTP_AUTH_VERSION}.")
    _check_time(values["auth_timestamp"], now)
    return _with_right_signature(app, request, parameter_sets)


def check_body(parameters: Parameters, body: bytes) -> None:
    """Raise `ApiRefusal` unless the body is the one that was signed."""
    signed = parameters.get("body_md5")
    if signed is None:
        if body:
            raise ApiRefusal(401, "body_md5 is missing: a request with a body needs the MD5 of the body, signed.")
        return
    if not hmac.compare_digest(_bytes(signed.lower()), body_md5(body).encode()):
        raise ApiRefusal(401, "body_md5 is not the MD5 of the body that arrived: sign the very bytes that are sent.")


def _required(parameters: Parameters, name: str) -> str:
    value = parameters.get(name)
    if not value:
        raise ApiRefusal(401, f"{name} is missing in the query: sign the request with the app's key and secret.")
    return value


def _check_time(timestamp: str, now: float) -> None:
    if _SECONDS.fullmatch(timestamp) is None:
        raise ApiRefusal(401, f"auth_timestamp is {shown(timestamp)}: it must be whole seconds since 1970.")
    behind_s = now - int(timestamp)
    if abs(behind_s) > CLOCK_TOLERANCE_S:
        direction = "behind" if behind_s > 0 else "ahead of"
        raise ApiRefusal(
            401,
            f"auth_timestamp is {abs(behind_s):.0f} s {direction} this server's clock, which is more than "
            f"{CLOCK_TOLERANCE_S:.0f} s: sign each request when it is sent, and set both clocks by NTP.",
        )


def _with_right_signature(app: PusherApp, request: SignedRequest, parameter_sets: Iterable[Parameters]) -> Parameters:
    texts = []
    for parameters in parameter_sets:
        for path in dict.fromkeys(request.paths):
            texts.append(text := request_text(request.method, path, parameters.items()))
            if is_signature(app.secret, text, parameters["auth_signature"]):
                return parameters
    # The text holds nothing that the client did not send.
    raise ApiRefusal(401, f"auth_signature is not the HMAC-SHA256, by the app's secret, of {_shown_text(texts[0])}.")


def _shown_text(text: str) -> str:
    return repr(text if len(text) <= 500 else f"{text[:500]}…")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
