"""The stand-in server as a program of its own: uvicorn, and what it answers at other addresses.

SIGTERM closes the clients first, spread over some seconds, and then the server.
"""

import contextlib
import gc
import socket
import sys
from typing import Any, Final

import uvicorn

from telltale import brokers, conf
from telltale.pusher.app_registry import registry
from telltale.pusher.protocol.close_codes import UNKNOWN_PATH
from telltale.pusher.server.application import PusherApplication
from telltale.pusher.server.mounting import find_socket
from telltale.pusher.server.server import close_server
from telltale.pusher.server.websocket import refuse
from telltale.server import routes
from telltale.server.configuration import loaded_config
from telltale.server.hangup import on_hangup
from telltale.server.options import CannotServe
from telltale.server.sockets import address_text, bind, raise_file_limit
from telltale.server.upgrade_protocol import UpgradeProtocol
from telltale.transports.http import Receive, Scope, Send, send_response

DRAIN_S: Final = 5
"""Seconds for open requests at shutdown."""

NOT_FOUND: Final = '{"error":"There is nothing at this path: clients connect to /app/KEY, servers to /apps/ID/…"}'


def serve(
    host: str, port: int, *, prefix: str = "", ssl_certfile: str | None = None, ssl_keyfile: str | None = None
) -> None:
    """Serve the apps of the settings until told to stop; raises `CannotServe` or `ImproperlyConfigured`."""
    brokers.build(conf.settings().broker)  # Opens nothing; a wrong URL raises here, and not in the running server.
    if not registry().load():
        raise CannotServe("The apps can't be read; the log has the reason.")
    routes.add_sockets(find_socket)
    config = uvicorn_config(prefix, ssl_certfile=ssl_certfile, ssl_keyfile=ssl_keyfile)
    bound = bind(host, port)
    raise_file_limit()
    gc.collect()
    gc.freeze()
    server = StandaloneServer(config)
    on_hangup(server.handle_exit)
    with contextlib.suppress(KeyboardInterrupt):  # After SIGINT uvicorn shuts down, and then raises the signal again.
        server.run(sockets=[bound])


def uvicorn_config(prefix: str, *, ssl_certfile: str | None, ssl_keyfile: str | None) -> uvicorn.Config:
    """Return uvicorn's configuration, without an access log. Raises `CannotServe`."""
    return loaded_config(
        PusherApplication(answer_others, prefix),
        http=UpgradeProtocol,
        ws="websockets-sansio",  # For other paths.
        drain_s=DRAIN_S,
        ssl_certfile=ssl_certfile,
        ssl_keyfile=ssl_keyfile,
    )


class StandaloneServer(uvicorn.Server):
    """uvicorn's server; it closes its clients in the protocol's own way before it shuts down."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Called by uvicorn; writes to stderr where it serves."""
        await super().startup(sockets)
        apps = ", ".join(app.id for app in registry().apps())
        for bound in sockets or []:
            sys.stderr.write(f"Telltale serves Pusher's protocol on {address_text(bound)} (apps: {apps}).\n")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Called by uvicorn."""
        for server in self.servers:
            server.close()
        await close_server()
        await super().shutdown(sockets)


async def answer_others(scope: Scope, receive: Receive, send: Send) -> Any:
    """Answer what is not at an address of the protocol, and the server's lifespan."""
    if scope["type"] == "lifespan":
        return await _run_lifespan(receive, send)
    if scope["type"] == "websocket":
        return await refuse(receive, send, UNKNOWN_PATH)
    if scope["path"] == "/healthz":
        return await send_response(send, 200, '{"state":"serving"}')
    await send_response(send, 404, NOT_FOUND)


async def _run_lifespan(receive: Receive, send: Send) -> None:
    while True:
        event = await receive()
        await send({"type": f"{event['type']}.complete"})
        if event["type"] == "lifespan.shutdown":
            return
