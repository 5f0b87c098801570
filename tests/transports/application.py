"""A minimal site around Telltale: it echoes on one socket, and answers requests with the number of clients.

Served by every server of the tests, each in a process of its own.
"""

from typing import Any

from telltale.asgi import get_asgi_application


async def site(scope: Any, receive: Any, send: Any) -> None:
    """The site's own addresses."""
    if scope["type"] == "lifespan":
        await run_lifespan(receive, send)
    elif scope["type"] == "websocket":
        await echo(receive, send)
    else:
        from telltale.live.driver import driver

        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": str(driver().connection_count).encode()})


async def run_lifespan(receive: Any, send: Any) -> None:
    """Start and stop with the server."""
    while True:
        event = await receive()
        await send({"type": f"{event['type']}.complete"})
        if event["type"] == "lifespan.shutdown":
            return


async def echo(receive: Any, send: Any) -> None:
    """Send back each message."""
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": event["text"]})


application = get_asgi_application(site)
