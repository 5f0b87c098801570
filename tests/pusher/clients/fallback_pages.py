"""Pages with pusher-js that reach the server by HTTP alone: what they run, and the options of the docs."""

from typing import Any, Final

from tests.http_proxy import Proxy
from tests.pusher.clients.apps import App
from tests.pusher.clients.conftest import js_options
from tests.pusher.clients.site import AppSite

CONNECT: Final = """([key, options]) => {
    window.events = []
    window.states = []
    window.errors = []
    const began = performance.now()
    window.pusher = new Pusher(key, options)
    pusher.connection.bind("error", error => errors.push(error))
    pusher.connection.bind("state_change", ({ current }) => {
        states.push(current)
        if (current === "connected") window.connectedAfter ??= performance.now() - began
    })
}"""

SUBSCRIBE: Final = """channel => {
    pusher.subscribe(channel).bind_global((event, data) => events.push([channel, event, data]))
}"""

HAPPENED: Final = (
    "([channel, event, data]) => events.some(e => JSON.stringify(e) === JSON.stringify([channel, event, data]))"
)

TRANSPORT: Final = "pusher.connection.connection.transport.name"


def is_stream(head: bytes) -> bool:
    return b"/xhr_streaming?" in head.partition(b"\r\n")[0]


def fallback_options(proxy: Proxy, site: AppSite, app: App) -> dict[str, Any]:
    """Return the options of the docs: all transports, and the address of those over HTTP."""
    port = int(proxy.url.rpartition(":")[2])
    options = js_options(port, site.url, app, user="ada")
    del options["enabledTransports"]
    return options | {"httpHost": "127.0.0.1", "httpPort": port}
