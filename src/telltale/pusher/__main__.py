"""`python -m telltale.pusher`: the stand-in server alone, without a Django project.

python -m telltale.pusher --port 6001 --app-id 1 --key app-key --secret app-secret
"""

import json
import os
import secrets
import socket
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

import django
from django.conf import settings


class CannotStart(Exception):
    """The server can't start; the text says why and what to change."""


def main(words: list[str] | None = None) -> int:
    """Serve until told to stop; return the exit code."""
    options = _parser().parse_args(words)
    try:
        _configure(options)
        _serve(options)
    except CannotStart as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="python -m telltale.pusher", description="A server for clients of Pusher Channels.")
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="The address to listen on (default: %(default)s).")
    add("--port", type=int, default=6001, help="The port to listen on (default: %(default)s).")
    add("--app-id", default="1", help="The app's id, digits (default: %(default)s).")
    add("--key", help="The app's key, which is public.")
    add("--secret", help="The app's secret.")
    add("--apps", type=Path, metavar="FILE.json", help="Several apps: a list as TELLTALE['PUSHER_APPS'] has it.")
    add("--no-client-events", action="store_true", help="Refuse events of clients.")
    add("--subscription-counts", action="store_true", help="Tell clients how many subscribers their channels have.")
    add("--webhook", action="append", default=[], metavar="URL", help="Send webhooks there; may be given repeatedly.")
    add("--event-bytes", type=int, metavar="N", help="The largest data of an event (default: 10240).")
    add("--connections", type=int, metavar="N", help="Connections that the app may have (default: no limit).")
    add("--activity-timeout", type=int, metavar="SECONDS", help="Silence before a ping (default: 120).")
    add("--prefix", default="", metavar="PATH", help="A path before /app and /apps.")
    add("--ssl-certfile", metavar="PATH", help="Serve TLS with this certificate.")
    add("--ssl-keyfile", metavar="PATH", help="The key of the certificate, if it is not in the same file.")
    return parser


def _configure(options: Namespace) -> None:
    settings.configure(
        SECRET_KEY=secrets.token_hex(),
        ALLOWED_HOSTS=["*"],
        INSTALLED_APPS=[],
        TELLTALE={"BROKER": os.environ.get("TELLTALE_BROKER", "memory://"), "PUSHER_APPS": _apps(options)},
    )
    django.setup()


def _apps(options: Namespace) -> list[dict[str, Any]]:
    if options.apps is not None:
        apps: list[dict[str, Any]] = json.loads(options.apps.read_text())
        return apps
    if not options.key or not options.secret:
        raise CannotStart("Give the app by --app-id, --key and --secret, or several apps by --apps FILE.json.")
    limits = {"EVENT_BYTES": options.event_bytes, "CONNECTIONS": options.connections}
    app = {
        "ID": options.app_id,
        "KEY": options.key,
        "SECRET": options.secret,
        "CLIENT_EVENTS": not options.no_client_events,
        "SUBSCRIPTION_COUNTS": options.subscription_counts,
        "ACTIVITY_TIMEOUT_S": options.activity_timeout,
        "LIMITS": {name: value for name, value in limits.items() if value is not None},
        "WEBHOOKS": options.webhook,
    }
    return [{name: value for name, value in app.items() if value is not None}]


def _serve(options: Namespace) -> None:
    try:
        import uvicorn
    except ImportError as error:
        raise CannotStart(f"The server can't be imported ({error}): pip install django-telltale[server].") from error
    from telltale.pusher.server.application import PusherApplication
    from telltale.pusher.server.standalone import nothing_else

    config = uvicorn.Config(
        PusherApplication(nothing_else, options.prefix),
        host=options.host,
        port=options.port,
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        ws_ping_interval=None,
        lifespan="on",
        access_log=False,
        log_level="warning",
        ssl_certfile=options.ssl_certfile,
        ssl_keyfile=options.ssl_keyfile,
    )
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind((options.host, options.port))
    sys.stderr.write(f"Telltale serves Pusher's protocol on {options.host}:{bound.getsockname()[1]}.\n")
    uvicorn.Server(config).run(sockets=[bound])


if __name__ == "__main__":
    sys.exit(main())
