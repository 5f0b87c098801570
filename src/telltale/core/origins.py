"""Other origins: which may use Telltale from their pages, and the headers by which their browsers learn it (CORS).

An entry of `TELLTALE["ALLOWED_ORIGINS"]` is an origin (`https://app.example.com`), one with all its subdomains
(`https://*.example.com`) or `*`. Only an origin that is listed as it is may send cookies: a wildcard never may.
"""

import re
from collections.abc import Collection, Iterable
from typing import Final

ANY: Final = "*"

METHODS: Final = "GET, HEAD, POST"
REQUEST_HEADERS: Final = "Authorization, Content-Type, If-None-Match, Prefer, X-CSRFToken"
"""Headers that a page may send, if its browser does not say which it wants to send."""
RESPONSE_HEADERS: Final = "ETag, Location, Preference-Applied, Retry-After, WWW-Authenticate"
"""Headers that a page may read."""
MAX_AGE_S: Final = 7_200
"""How long a browser may remember the answer; none remembers it longer."""

_FORM: Final = re.compile(r"[a-z][a-z0-9+.-]*://(\*\.)?[^/*?#@\s]+")

Header = tuple[str, str]


def is_valid(entry: str) -> bool:
    """Whether `entry` can be an entry of the setting."""
    return entry == ANY or _FORM.fullmatch(entry.lower()) is not None


def is_allowed(origin: str, allowed: Collection[str]) -> bool:
    """Whether pages of `origin`, the value of a request's header, may use Telltale; False without one."""
    return bool(origin) and (ANY in allowed or _is_listed(origin, allowed) or _is_subdomain(origin, allowed))


def cors_headers(origin: str, allowed: Collection[str]) -> list[Header]:
    """Return the headers of each response to a request from `origin`; none if no other origin is allowed at all."""
    if not allowed:
        return []
    if _is_listed(origin, allowed):
        granted = [("Access-Control-Allow-Origin", origin), ("Access-Control-Allow-Credentials", "true")]
    elif ANY in allowed:
        granted = [("Access-Control-Allow-Origin", ANY)]
    elif _is_subdomain(origin, allowed):
        granted = [("Access-Control-Allow-Origin", origin)]
    else:
        granted = []
    exposed = [("Access-Control-Expose-Headers", RESPONSE_HEADERS)] if granted else []
    return [*granted, *exposed, ("Vary", "Origin")]


def preflight_headers(origin: str, allowed: Collection[str], *, requested: str = "") -> list[Header]:
    """Return the headers of the answer to a browser that asks first. `requested`: the headers it wants to send."""
    if not is_allowed(origin, allowed):
        return cors_headers(origin, allowed)
    return [
        *cors_headers(origin, allowed),
        ("Access-Control-Allow-Methods", METHODS),
        ("Access-Control-Allow-Headers", requested or REQUEST_HEADERS),
        ("Access-Control-Max-Age", str(MAX_AGE_S)),
    ]


def encoded(headers: Iterable[Header]) -> list[tuple[bytes, bytes]]:
    """Return headers as ASGI servers take them."""
    return [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]


def _is_listed(origin: str, allowed: Collection[str]) -> bool:
    return origin.lower() in {entry.lower() for entry in allowed if "*" not in entry}


def _is_subdomain(origin: str, allowed: Collection[str]) -> bool:
    scheme, _, host = origin.lower().partition("://")
    for entry in allowed:
        allowed_scheme, _, domain = entry.lower().partition("://*.")
        if domain and scheme == allowed_scheme and host.endswith(f".{domain}"):
            return True
    return False
