"""What the stand-in server answers at other addresses, when it runs without a site."""

from typing import Final

from telltale.pusher.protocol.close_codes import UNKNOWN_PATH
from telltale.pusher.server.websocket import refuse
from telltale.transports.http import Receive, Scope, Send, send_response

NOT_FOUND: Final = '{"error":"There is nothing at this path: clients connect to /app/KEY, servers to /apps/ID/…"}'


async def nothing_else(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request, a connection or the server's lifespan."""
    if scope["type"] == "lifespan":
        while True:
            event = await receive()
            await send({"type": f"{event['type']}.complete"})
            if event["type"] == "lifespan.shutdown":
                return
    if scope["type"] == "websocket":
        return await refuse(receive, send, UNKNOWN_PATH)
    if scope["path"] == "/healthz":
        return await send_response(send, 200, '{"state":"serving"}')
    await send_response(send, 404, NOT_FOUND)
