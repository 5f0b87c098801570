"""From where a client comes, when proxies stand before this server: whose word about that is taken, and how much of it.

Each proxy adds the address that it was asked from at the end of `X-Forwarded-For`; what stands before the first
address that a trusted one has added was written by a stranger. Knows addresses and headers. Used by the live
server's protocols; on other servers the server itself tells the address.
"""

from collections.abc import Iterable
from functools import cache, lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, Self

from telltale.transports.http import Scope

LOCAL: Final = "127.0.0.1"

LONGEST: Final = 64
"""Characters of an address that are looked at: it is a key for counting, whatever somebody writes."""


KNOWN: Final = 4_096
"""Addresses that are not parsed again: after a restart all come back, many of them through the same few."""


class Proxies:
    """Those whose word is taken, as uvicorn's `--forwarded-allow-ips` names them."""

    def __init__(self, names: Iterable[str]) -> None:
        """`names`: addresses and networks; `*` takes the word of whoever asks, and of nobody behind it."""
        given = {name.strip() for name in names}
        self._is_anyone = "*" in given
        self._networks = [network for name in given if (network := _network(name)) is not None]

    @classmethod
    def of(cls, names: str | Iterable[str] | None) -> Self:
        """From a setting, which may be one string with commas."""
        return cls._of(tuple(names.split(",") if isinstance(names, str) else names or ()))

    @classmethod
    @cache
    def _of(cls, names: tuple[str, ...]) -> Self:
        return cls(names)

    def __contains__(self, address: str) -> bool:
        parsed = _parsed(address)
        return parsed is not None and any(parsed in network for network in self._networks)

    def client_of(self, peer: str, scope: Scope) -> str:
        """The address of the client that asks through `peer`: the last one that no trusted proxy has.

        All being trusted, the first is the client's. An unusual address is returned as it is written.
        """
        peer = plain(peer)
        if not (self._is_anyone or peer in self):
            return peer
        hops = [plain(hop) for hop in _forwarded(scope)]
        return next((hop for hop in reversed(hops) if hop not in self), hops[0] if hops else peer)


def plain(address: str) -> str:
    """An address in its one form: without a port, and IPv4 as IPv4."""
    host = address.strip()[:LONGEST]
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    parsed = _parsed(host)
    if parsed is None:
        return host
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return str(mapped or parsed)


def _forwarded(scope: Scope) -> list[str]:
    # Some proxies add a line instead of a word: a stranger's line must not hide theirs.
    lines = [value.decode("latin-1") for name, value in scope["headers"] if name.lower() == b"x-forwarded-for"]
    return [hop for line in lines for hop in line.split(",") if hop.strip()]


@lru_cache(maxsize=KNOWN)
def _parsed(address: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(address)
    except ValueError:
        return None


def _network(name: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(name, strict=False)
    except ValueError:
        return None
