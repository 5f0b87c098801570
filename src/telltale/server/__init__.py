"""The live server: a program of its own for the live address, and its protocols for a site's own uvicorn.

    manage.py telltale serve                            python -m telltale.server
    uvicorn --ws telltale.server:WebSocketProtocol --http telltale.server:HttpProtocol site.asgi:application

Both protocols are imported on first use: `options` and `sockets` must work without the `server` extra.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from telltale.server.http_protocol import HttpProtocol as HttpProtocol
    from telltale.server.websocket_protocol import WebSocketProtocol as WebSocketProtocol

_HOMES = {
    "HttpProtocol": "telltale.server.http_protocol",
    "WebSocketProtocol": "telltale.server.websocket_protocol",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'telltale.server' has no attribute {name!r}; it has {', '.join(_HOMES)}")
    return getattr(import_module(_HOMES[name]), name)
