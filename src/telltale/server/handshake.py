"""The response to a WebSocket handshake (RFC 6455, 4.2), for the live address and for other protocols.

`websockets` checks the handshake; here are only the checks that it leaves to its callers. No extension is accepted:
compressing each message for each client costs more than it saves. The library's checks take a seventh of a
handshake's CPU time (40 of 290 µs). Used by the live server's protocols.
"""

from http import HTTPStatus
from typing import Final

from websockets.http11 import Request, Response
from websockets.server import ServerProtocol

from telltale.live.access import is_known_host, is_trusted_origin
from telltale.transports.http import LiveRequest

VERSION: Final = "13"
"""Of the WebSocket protocol."""

_CHECKER: Final = ServerProtocol()
"""Only makes responses, which depend on the request alone, so one is enough for all handshakes."""


def live_handshake_response(handshake: Request, request: LiveRequest) -> Response:
    """Return the response to a handshake for the live address, which also depends on its host and its origin."""
    if not (is_known_host(request) and is_trusted_origin(request)):
        return _CHECKER.reject(
            HTTPStatus.FORBIDDEN, "The host is not in ALLOWED_HOSTS, or the origin not in CSRF_TRUSTED_ORIGINS.\n"
        )
    return handshake_response(handshake)


def handshake_response(handshake: Request) -> Response:
    """Return the response to a GET that asks for a WebSocket; status 101 accepts it, any other refuses it."""
    if VERSION not in handshake.headers.get_all("Sec-WebSocket-Version"):
        # `websockets` answers 400, but the standard wants 426 with the version that is supported.
        response = _CHECKER.reject(HTTPStatus.UPGRADE_REQUIRED, f"Use version {VERSION} of the WebSocket protocol.\n")
        response.headers["Sec-WebSocket-Version"] = VERSION
        return response
    return _CHECKER.accept(handshake)
