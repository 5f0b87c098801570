"""The site of an app, as far as a Pusher server meets it: endpoints that sign for browsers, and one for webhooks.

It signs with the official Python library. Query parameters of an endpoint's address say for which user, and what is
to go wrong: `/pusher/auth?app=1&user=ada&status=403`.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs, parse_qsl, urlsplit

from pusher import Pusher

from tests.pusher.clients.apps import APPS, App
from tests.pusher.clients.driver import DIRECTORY
from tests.transports.sites import wait_until

MASTER_KEY: Final = "ODUzYTRlZGY3NjFlNDk5ODgyNTY0MmJlZWYzYzk5OTc="
"""Of encrypted channels: 32 bytes in base64."""

SCRIPTS: Final = {
    "/pusher-js.js": DIRECTORY / "node_modules/pusher-js/dist/web/pusher.min.js",
    "/pusher-js-7.js": DIRECTORY / "node_modules/pusher-js-7/dist/web/pusher.min.js",
}

Request = dict[str, Any]


class AppSite:
    """An HTTP server in a thread of the tests."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.statuses: dict[str, list[int]] = {}
        """Answers to the next webhooks, by path; afterwards 200."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, name="app-site")
        self._thread.start()

    def webhooks(self, path: str) -> list[Request]:
        """Return the requests to this path so far."""
        return [request for request in self.requests if request["path"] == path]

    def hooked(self, path: str, **matching: Any) -> dict[str, Any]:
        """Wait for a webhook's event with these fields, and return it."""
        wait_until(lambda: self.hook_events(path, **matching), f"{path} is told of {matching}")
        return self.hook_events(path, **matching)[0]

    def hook_events(self, path: str, **matching: Any) -> list[dict[str, Any]]:
        """Return the events of the webhooks that were accepted, in the order in which they came."""
        bodies = [json.loads(request["body"]) for request in self.webhooks(path) if request["status"] < 300]
        events = [event for body in bodies for event in body["events"]]
        return [event for event in events if matching.items() <= event.items()]

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _handler(site: AppSite) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
            address = urlsplit(self.path)
            status, answer = 200, ""
            if address.path.startswith("/hooks"):
                status = (site.statuses.get(address.path) or [200]).pop(0)
            else:
                status, answer = _sign(address.path, dict(parse_qsl(address.query)), parse_qs(body))
            headers = dict(self.headers.items())
            site.requests.append({"path": address.path, "headers": headers, "body": body, "status": status})
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer.encode())))
            self.end_headers()
            self.wfile.write(answer.encode())

        def do_GET(self) -> None:
            """Serve an empty page, or pusher-js as it is for browsers."""
            script = SCRIPTS.get(self.path)
            answer = script.read_bytes() if script else b"<!doctype html><link rel=icon href=data:,><title>Page</title>"
            self.send_response(200)
            self.send_header("Content-Type", "text/javascript" if script else "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def _sign(path: str, options: dict[str, str], form: dict[str, list[str]]) -> tuple[int, str]:
    """Return status and body of the endpoint's answer."""
    status = int(options.get("status", "200"))
    if status != 200:
        return status, '{"message": "Forbidden"}'
    app = next(app for app in APPS if app.id == options.get("app", "1"))
    library = server_library(app, secret=options.get("secret"))
    socket_id = form["socket_id"][0]
    user_id = options.get("user", "ada")
    if path.endswith("user-auth"):
        watchlist = options["watchlist"].split(",") if "watchlist" in options else []
        info = {"name": user_id.title()}
        return 200, json.dumps(library.authenticate_user(socket_id, _user(user_id, watchlist, user_info=info)))
    channel = form["channel_name"][0]
    member = {"user_id": user_id, "user_info": {"name": user_id.title()}} if channel.startswith("presence-") else None
    answer = library.authenticate(channel, socket_id, member)
    return 200, json.dumps(answer, default=bytes.decode)


def _user(user_id: str, watchlist: list[str], **more: Any) -> dict[str, Any]:
    return {"id": user_id, **more, **({"watchlist": watchlist} if watchlist else {})}


def server_library(app: App, *, port: int = 0, secret: str | None = None) -> Pusher:
    """Return the official Python library, pointed at the stand-in server."""
    host: dict[str, Any] = {"host": "127.0.0.1", "port": port} if port else {}
    return Pusher(app.id, app.key, secret or app.secret, ssl=False, encryption_master_key_base64=MASTER_KEY, **host)
