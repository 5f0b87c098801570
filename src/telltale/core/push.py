"""Web push subscriptions as browsers make them, and the addresses to which a server may send.

A browser chooses the address of its push service, and the page sends it to the site. So a visitor can name any address:
only those of known services count, or a visitor could have the server send requests into its own network.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from telltale.core.wire import Malformed

SERVICES: Final = (
    "fcm.googleapis.com",
    "*.push.services.mozilla.com",
    "*.push.apple.com",
    "*.notify.windows.com",
)
"""The push services of Chrome and its relatives, Firefox, Safari and Edge."""

MAX_ENDPOINT: Final = 1_024
"""The most characters of an address; those of the services have 150 to 500."""

KEY_BYTES: Final = 65
"""A point of the curve P-256, uncompressed."""

SECRET_BYTES: Final = 16

_ENDPOINT: Final = re.compile(r"(https?)://([a-z0-9.-]{1,253})(?::(\d{1,5}))?/[A-Za-z0-9._~:@!$&'()*+,;=%/?-]*")
_HOST: Final = re.compile(r"(\*\.)?[a-z0-9-]+(\.[a-z0-9-]+)+")
_ORIGIN: Final = re.compile(r"(https?)://([a-z0-9.-]+)(?::(\d{1,5}))?")
_PORTS: Final = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """Where to send messages for one browser, and the keys with which only that browser reads them."""

    endpoint: str
    key: str
    """The browser's public key, in base64url: `p256dh`."""
    secret: str
    """A secret of browser and site, in base64url: `auth`."""

    @property
    def digest(self) -> str:
        """A name of the endpoint that the database can index: 64 hexadecimal digits."""
        return sha256(self.endpoint.encode()).hexdigest()

    @property
    def origin(self) -> str:
        """The service's origin, such as "https://fcm.googleapis.com"."""
        return "/".join(self.endpoint.split("/")[:3])

    @classmethod
    def read(cls, data: Mapping[str, Any], services: Iterable[str]) -> "Subscription":
        """Return what a browser's `PushSubscription.toJSON()` holds; raises `Malformed`."""
        endpoint, keys = data.get("endpoint"), data.get("keys")
        if not isinstance(endpoint, str) or not isinstance(keys, Mapping):
            raise Malformed('Send {"endpoint": "https://…", "keys": {"p256dh": "…", "auth": "…"}}.')
        if len(endpoint) > MAX_ENDPOINT or not is_at_service(endpoint, services):
            raise Malformed(f"{endpoint[:80]!r} is no address of a push service that this site uses.")
        key, secret = keys.get("p256dh"), keys.get("auth")
        point = from_base64url(key)
        # The first byte says that the point is uncompressed.
        if len(point) != KEY_BYTES or point[0] != 4 or len(from_base64url(secret)) != SECRET_BYTES:
            raise Malformed("The keys of the subscription are not those of a browser.")
        return cls(endpoint=endpoint, key=str(key).rstrip("="), secret=str(secret).rstrip("="))


def is_at_service(endpoint: str, services: Iterable[str]) -> bool:
    """Whether the address is one of these services: a host, such as "push.example.org" or "*.example.org", by https
    at its usual port, or an origin."""
    found = _ENDPOINT.fullmatch(endpoint)
    if found is None:
        return False
    scheme, host, port = found.groups()
    place = (scheme, host, int(port or _PORTS[scheme]))
    return any(_is_place_of(service, place) for service in services)


def is_service(service: object) -> bool:
    """Whether this can be used as a service: a host with a dot, also "*." before it, or an origin."""
    return isinstance(service, str) and bool(_HOST.fullmatch(service) or _ORIGIN.fullmatch(service))


def _is_place_of(service: str, place: tuple[str, str, int]) -> bool:
    if origin := _ORIGIN.fullmatch(service):
        scheme, host, port = origin.groups()
        return place == (scheme, host, int(port or _PORTS[scheme]))
    scheme, host, port_number = place
    is_host = host.endswith(service[1:]) if service.startswith("*.") else host == service
    return scheme == "https" and port_number == _PORTS["https"] and is_host


def from_base64url(text: object) -> bytes:
    """Return the bytes of base64url; none for anything else."""
    if not isinstance(text, str) or not re.fullmatch(r"[A-Za-z0-9_-]{1,100}={0,2}", text):
        return b""
    try:
        return base64.urlsafe_b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4))
    except binascii.Error:
        return b""
