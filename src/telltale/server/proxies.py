"""Finds a client's address behind proxies: which proxies are trusted, and which part of their header.

Each proxy appends the address of its own client to `X-Forwarded-For`. The last address that is not a trusted proxy's
is the client's; anything before it may be forged. Knows addresses and headers. Used by the live server's protocols;
other servers pass the address on themselves.
"""

from collections.abc import Iterable
from functools import cache, lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, Self

LOCAL: Final = "127.0.0.1"

MAX_LENGTH: Final = 64
"""Characters of an address that are kept: it is a key for counting, and a client may write anything there."""

CACHED: Final = 4_096
"""Addresses whose parsed form is cached: after a restart all clients return, many of them through a few proxies."""


class Proxies:
    """The trusted proxies, as uvicorn's `--forwarded-allow-ips` names them."""

    def __init__(self, names: Iterable[str]) -> None:
        """`names`: addresses and networks; `*` trusts every peer, but no proxy behind it."""
        stripped = {name.strip() for name in names}
        self._trusts_every_peer = "*" in stripped
        self._networks = [network for name in stripped if (network := _parse_network(name)) is not None]

    @classmethod
    def from_setting(cls, names: str | Iterable[str] | None) -> Self:
        """Return the proxies that a setting names: a list, or one string with commas."""
        return cls._cached(tuple(names.split(",") if isinstance(names, str) else names or ()))

    @classmethod
    @cache
    def _cached(cls, names: tuple[str, ...]) -> Self:
        return cls(names)

    def __contains__(self, address: str) -> bool:
        parsed = _parse_address(address)
        return parsed is not None and any(parsed in network for network in self._networks)

    def trust(self, peer: str) -> bool:
        """Whether what this peer reports about its clients is believed."""
        return self._trusts_every_peer or normalize(peer) in self

    def client_address(self, peer: str, forwarded_for: str) -> str:
        """Return the client's address: the last one in `forwarded_for` and `peer` that is no trusted proxy's.

        If all are trusted proxies', the first is the client's. A malformed address is returned as it is.
        """
        peer = normalize(peer)
        if not self.trust(peer):
            return peer
        addresses = [normalize(address) for address in forwarded_for.split(",") if address.strip()]
        untrusted = [address for address in addresses if address not in self]
        return untrusted[-1] if untrusted else (addresses[0] if addresses else peer)


def normalize(address: str) -> str:
    """Return an address in its one usual form: without a port, and IPv4 not in IPv6 notation."""
    host = address.strip()[:MAX_LENGTH]
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    parsed = _parse_address(host)
    if parsed is None:
        return host
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return str(mapped or parsed)


@lru_cache(maxsize=CACHED)
def _parse_address(address: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(address)
    except ValueError:
        return None


def _parse_network(name: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(name, strict=False)
    except ValueError:
        return None
