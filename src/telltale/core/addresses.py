"""Under which name a client's network address is counted."""

from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network, ip_network
from typing import Final

NETWORK_BITS: Final = 64
"""A customer of an IPv6 provider gets at least a /64 network, and may use any of its addresses."""

CACHED: Final = 4_096
"""After a restart all clients return, many of them from one address."""


@lru_cache(maxsize=CACHED)
def counted_address(address: str) -> str:
    """Return an IPv4 address as it is, and of an IPv6 address its /64 network; anything else as it is."""
    if ":" not in address:
        return address
    try:
        parsed = IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(IPv6Network((parsed, NETWORK_BITS), strict=False))


@lru_cache(maxsize=CACHED)
def is_public(counted: str) -> bool:
    """Whether a counted address is one of the internet. Others are of proxies, as a rule, or of the site itself."""
    try:
        return ip_network(counted).network_address.is_global
    except ValueError:
        return False
