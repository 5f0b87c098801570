"""A site around Telltale, as small as can be: it echoes at one socket, and tells how many clients are followed.

Served by every server of the tests, each in a process of its own.
"""

from typing import Any

from telltale.asgi import get_asgi_application


async def site(scope: Any, receive: Any, send: Any) -> None:
    """The site's own addresses."""
    if scope["type"] == "lifespan":
        await live_through(receive, send)
    elif scope["type"] == "websocket":
        await echo(receive, send)
    else:
        from telltale.live.driver import driver

        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": str(driver().connection_count).encode()})


async def live_through(receive: Any, send: Any) -> None:
    """Begin and end with the server."""
    while True:
        event = await receive()
        await send({"type": f"{event['type']}.complete"})
        if event["type"] == "lifespan.shutdown":
            return


async def echo(receive: Any, send: Any) -> None:
    """Say what is said."""
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": event["text"]})


application = get_asgi_application(site)
