"""`python -m telltale.pusher`: the stand-in server alone, without a Django project or a database.

python -m telltale.pusher --port 6001 --app-id 1 --key app-key --secret app-secret
"""

import hashlib
import json
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

import django
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from telltale.server.options import EXIT_CANNOT_SERVE, LAST_PORT, CannotServe, check_range


def main(words: list[str] | None = None) -> int:
    """Serve until told to stop; return the exit code."""
    options = parser().parse_args(words)
    try:
        configure(options)
        serve(options)
    except (CannotServe, ImproperlyConfigured) as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_CANNOT_SERVE
    return 0


def parser() -> ArgumentParser:
    """Return the parser of the command line."""
    made = ArgumentParser(prog="python -m telltale.pusher", description="Serves clients of Pusher Channels.")
    add = made.add_argument
    add("--host", default="127.0.0.1", help="The address to listen on (default: %(default)s).")
    add("--port", type=int, default=6001, help="The port to listen on (default: %(default)s).")
    add("--app-id", metavar="DIGITS", help="The app's id.")
    add("--key", help="The app's key, which is public.")
    add("--secret", help="The app's secret.")
    add("--apps", metavar="FILE.json", help="Several apps instead: a list as in TELLTALE['PUSHER_APPS'].")
    add("--no-client-events", action="store_true", help="Refuse events of clients.")
    add("--subscription-counts", action="store_true", help="Tell subscribers how many of them a channel has.")
    add("--webhook", action="append", metavar="URL", help="Send webhooks there; may be repeated.")
    add("--event-bytes", type=int, metavar="N", help="The largest data of an event (default: 10240).")
    add("--connections", type=int, metavar="N", help="Connections that the app may have (default: no limit).")
    add("--activity-timeout", type=int, metavar="SECONDS", help="Silence before a ping (default: 120).")
    add("--prefix", default="", metavar="PATH", help="A path before /app/KEY and /apps/ID.")
    add("--broker", default="memory://", metavar="URL", help="Connects several processes, such as redis://….")
    add("--ssl-certfile", metavar="PATH", help="Serve TLS with this certificate.")
    add("--ssl-keyfile", metavar="PATH", help="The key of the certificate, if it is not in the same file.")
    return made


def configure(options: Namespace) -> None:
    """Set Django up with the options; raises `CannotServe`."""
    check_range("--port", options.port, 0, LAST_PORT)
    apps = _read_apps(options.apps) if options.apps is not None else [_app(options)]
    settings.configure(
        SECRET_KEY=_secret_key(apps),
        ALLOWED_HOSTS=["*"],
        INSTALLED_APPS=[],
        USE_TZ=True,
        TELLTALE={"BROKER": options.broker, "PUSHER_APPS": apps, "PUSHER_PATH": options.prefix},
    )
    django.setup()


def serve(options: Namespace) -> None:
    """Serve until told to stop; raises `CannotServe`."""
    try:
        from telltale.pusher.server import standalone
    except ImportError as error:
        raise CannotServe(f"The server can't be imported ({error}): pip install django-telltale[server].") from error
    standalone.serve(
        options.host,
        options.port,
        prefix=options.prefix,
        ssl_certfile=options.ssl_certfile,
        ssl_keyfile=options.ssl_keyfile,
    )


def _secret_key(apps: list[Any]) -> str:
    """Return the same key in all processes with the same apps: brokers keep sites with different keys apart."""
    secrets = sorted(str(app.get("SECRET")) for app in apps if isinstance(app, dict))
    return hashlib.sha256("\n".join(["telltale.pusher", *secrets]).encode()).hexdigest()


def _read_apps(path: str) -> list[Any]:
    try:
        apps = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise CannotServe(f"--apps {path} can't be read: {error}. Give a file with a JSON list of apps.") from error
    if not isinstance(apps, list):
        raise CannotServe(f'--apps {path} is no JSON list: write [{{"ID": "1", "KEY": "…", "SECRET": "…"}}].')
    return apps


def _app(options: Namespace) -> dict[str, Any]:
    missing = [name for name in ("app_id", "key", "secret") if not getattr(options, name)]
    if missing:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in missing)
        raise CannotServe(f"{flags}: missing. Give --app-id, --key and --secret, or several apps by --apps FILE.json.")
    limits = {"EVENT_BYTES": options.event_bytes, "CONNECTIONS": options.connections}
    app = {
        "ID": options.app_id,
        "KEY": options.key,
        "SECRET": options.secret,
        "CLIENT_EVENTS": not options.no_client_events,
        "SUBSCRIPTION_COUNTS": options.subscription_counts,
        "ACTIVITY_TIMEOUT_S": options.activity_timeout,
        "WEBHOOKS": options.webhook,
        "LIMITS": {name: value for name, value in limits.items() if value is not None},
    }
    return {name: value for name, value in app.items() if value is not None}


if __name__ == "__main__":
    sys.exit(main())
