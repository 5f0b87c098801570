"""The live server: a program that serves the live address alone, and its protocols for a site's own uvicorn.

    manage.py telltale serve                            python -m telltale.server
    uvicorn --ws telltale.server:WebSocketProtocol --http telltale.server:HttpProtocol mysite.asgi:application

The protocols are imported on first use: `options` and `sockets` must work without the `server` extra.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from telltale.server.http_protocol import HttpProtocol as HttpProtocol
    from telltale.server.websocket_protocol import WebSocketProtocol as WebSocketProtocol

_MODULES = {
    "HttpProtocol": "telltale.server.http_protocol",
    "WebSocketProtocol": "telltale.server.websocket_protocol",
}

__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'telltale.server' has no attribute {name!r}; it has {', '.join(_MODULES)}")
    return getattr(import_module(_MODULES[name]), name)
