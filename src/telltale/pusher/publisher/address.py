"""The meaning of a URL `pusher://…`: the app, and the address of its HTTP API. Opens nothing, and needs no library.

`pusher://KEY:SECRET@CLUSTER/APP_ID` is an app at the hosted service; a cluster is a word such as `eu`.
`pusher://KEY:SECRET@HOST:PORT/APP_ID` is an app of a compatible server. A name with a port or a dot is a host, and so
are `localhost` and an IPv6 address in brackets; every other name is a cluster. Options:

- `tls=0`: the host is reached without TLS. The port is 443, or 80 without TLS, unless the URL has one.
- `ca_certs=PATH`: certificates that vouch for the host, in one file; without it, those that `requests` trusts.
- `and=URL`: a second broker, percent-encoded, by which processes also hear each other.

A wrong URL raises `ImproperlyConfigured`, without key and secret in its text.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, unquote

from django.core.exceptions import ImproperlyConfigured

from telltale.brokers.urls import redact
from telltale.pusher.pusher_apps import PusherApp

EXAMPLES: Final = "pusher://KEY:SECRET@eu/APP_ID or pusher://KEY:SECRET@HOST:PORT/APP_ID?tls=0"

_OPTIONS: Final = ("tls", "ca_certs", "and")
_BOOLEANS: Final = {"true": True, "1": True, "false": False, "0": False}
_CLUSTER: Final = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_APP_ID: Final = re.compile(r"[0-9]+")
_NOT_IN_KEYS: Final = ":/@"


@dataclass(frozen=True, slots=True, kw_only=True)
class PusherAddress:
    """An app, and how to reach its service."""

    app: PusherApp
    cluster: str = ""
    """Of the hosted service; empty for another host."""
    host: str = ""
    port: int | None = None
    """None: the usual port."""
    is_tls: bool = True
    ca_certs: str | None = None
    second_broker: str | None = field(default=None, repr=False)
    """The URL of a second broker."""

    def browser_options(self) -> dict[str, Any]:
        """Return the options of pusher-js for this service, besides the key."""
        if self.cluster:
            return {"cluster": self.cluster}
        port = {} if self.port is None else {"wsPort": self.port, "wssPort": self.port}
        fallback_port = {} if self.port is None else {"httpPort": self.port, "httpsPort": self.port}
        return {
            "cluster": "",
            "wsHost": self.host,
            "httpHost": self.host,
            **port,
            **fallback_port,
            "forceTLS": self.is_tls,
            "enableStats": False,
        }


def parse(url: SplitResult) -> PusherAddress:
    """Return the address that `url` gives; raises `ImproperlyConfigured`."""
    credentials, _, location = url.netloc.rpartition("@")
    # First: without it, a part of the secret may look like an option, and would be in that error's text.
    app = _app(url, credentials)
    options = _options(url)
    is_host = _is_host(location)
    if not is_host and not _CLUSTER.fullmatch(location):
        raise _error(url, f"{location!r} is neither a cluster, such as eu or mt1, nor a host with a port or a dot")
    if not is_host and (options.keys() & {"tls", "ca_certs"}):
        raise _error(url, "the options tls and ca_certs are for hosts, and a name without port and dot is a cluster")
    is_tls = _is_tls(url, options)
    host, port = _host_and_port(url) if is_host else ("", None)
    return PusherAddress(
        app=app,
        cluster="" if is_host else location,
        host=host,
        port=port,
        is_tls=is_tls,
        ca_certs=options.get("ca_certs"),
        second_broker=_second_broker(url, options.get("and")),
    )


def _error(url: SplitResult, problem: str) -> ImproperlyConfigured:
    # Without an @ in its place, any part may be a secret.
    shown = redact(url.geturl()) if "@" in url.netloc else f"{url.scheme}://…"
    return ImproperlyConfigured(f"TELLTALE['BROKER'] is {shown!r}: {problem}. Write {EXAMPLES}.")


def _options(url: SplitResult) -> Mapping[str, str]:
    if url.fragment:
        raise _error(url, "a # must be percent-encoded as %23")
    pairs = parse_qsl(url.query, keep_blank_values=True)
    unknown = next((name for name, _value in pairs if name not in _OPTIONS), None)
    if unknown is not None:
        raise _error(url, f"the option {unknown!r} is unknown: there are {', '.join(_OPTIONS)}")
    return dict(pairs)


def _app(url: SplitResult, credentials: str) -> PusherApp:
    key, _, secret = (unquote(part) for part in credentials.partition(":"))
    app_id = url.path.strip("/")
    if not key or not secret:
        raise _error(url, "the app's key or its secret is missing; percent-encode special characters in them")
    if any(character in key + secret for character in _NOT_IN_KEYS):
        raise _error(url, "a key or secret has no : / or @")
    if not _APP_ID.fullmatch(app_id):
        raise _error(url, f"the app's id, after the last slash, is {app_id!r}, and must be a number")
    return PusherApp(id=app_id, key=key, secret=secret)


def _is_host(location: str) -> bool:
    return any(character in location for character in ".:[") or location == "localhost"


def _host_and_port(url: SplitResult) -> tuple[str, int | None]:
    try:
        host, port = url.hostname, url.port
    except ValueError as error:
        raise _error(url, str(error)) from error
    if not host:
        raise _error(url, "the host is missing")
    return (f"[{host}]" if ":" in host else host), port


def _is_tls(url: SplitResult, options: Mapping[str, str]) -> bool:
    value = options.get("tls", "1").lower()
    if value not in _BOOLEANS:
        raise _error(url, f"tls is {value!r}, and must be 0 or 1")
    if not _BOOLEANS[value] and "ca_certs" in options:
        raise _error(url, "ca_certs needs TLS: remove it, or tls=0")
    return _BOOLEANS[value]


def _second_broker(url: SplitResult, second: str | None) -> str | None:
    if second is not None and second.startswith("pusher:"):
        raise _error(url, "the second broker, after and=, must be of another scheme, such as redis://")
    return second or None
