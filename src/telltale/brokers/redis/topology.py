"""Where a site's channels are: on one server, on the master that sentinels name, or spread over a cluster.

Each place gives its chart, bucket → server, and lines to those servers. All of it may block for seconds, so it
is called from threads that may. Publisher and subscription ask for a new chart whenever a line is lost.
"""

import random
from collections.abc import Mapping
from typing import Any, Final, Protocol

import redis
import redis.sentinel
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.retry import Retry

from telltale.brokers.base import BrokerUnavailable
from telltale.brokers.redis.channels import BUCKETS, Channels
from telltale.brokers.redis.line import CONNECT_S, Line, ask, open_line, unavailable
from telltale.brokers.redis.url import Address, Kind, Node

Chart = tuple[Node, ...]
"""Which server has which bucket."""


class Places(Protocol):
    """Of one address."""

    channels: Channels

    def chart(self) -> Chart:
        """As it is now. Blocks; raises `BrokerUnavailable`."""

    def line(self, node: Node, hello: tuple[str, ...]) -> Line:
        """To a server of the chart. Blocks; raises `BrokerUnavailable`."""


class Direct:
    """One server."""

    buckets = 1

    def __init__(self, address: Address) -> None:
        self._address = address
        self._options = _options(address)
        self.channels = Channels(address.prefix, self.buckets)

    def chart(self) -> Chart:
        """The server that the URL names."""
        return self._address.nodes

    def line(self, node: Node, hello: tuple[str, ...]) -> Line:
        """See the contract."""
        return open_line(node, self._options, hello)


class BySentinel(Direct):
    """The master among several, whichever it is at the moment."""

    def chart(self) -> Chart:
        """The server that a sentinel names: the first that can be reached and knows of a master."""
        sentinels = random.sample(self._address.nodes, len(self._address.nodes))
        signing_in = {"username": self._address.sentinel_user, "password": self._address.sentinel_password}
        shared = {**signing_in, **_tls(self._address, client=True), "retry": Retry(NoBackoff(), 0)}
        timeouts = {"socket_timeout": CONNECT_S, "socket_connect_timeout": CONNECT_S, "protocol": 2}
        sentinel: Any = redis.sentinel.Sentinel
        asked = sentinel(sentinels, sentinel_kwargs={**shared, **timeouts})
        try:
            host, port = asked.discover_master(self._address.master)
        except (redis.RedisError, OSError) as error:
            raise unavailable(sentinels[0], error) from error
        finally:
            for client in asked.sentinels:
                client.close()
        return (Node(host, int(port)),)


class Cluster(Direct):
    """Many masters, each with a part of the buckets."""

    buckets = BUCKETS

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self._known: Chart = ()
        self._slots: Final = [key_slot(key) for key in self.channels.prefixes]

    def chart(self) -> Chart:
        """As the first server says that can be reached, of those that were known last and those in the URL."""
        candidates = list({*self._known, *self._address.nodes})
        random.shuffle(candidates)
        for node in candidates:
            try:
                self._known = self._read(ask(node, self._options, ("CLUSTER", "SLOTS")), node)
            except BrokerUnavailable as error:
                failure = error
            else:
                return self._known
        raise failure

    def _read(self, ranges: Any, asked: Node) -> Chart:
        owners: dict[int, Node] = {}
        for first, last, (host, port, *_), *_replicas in ranges:
            # A server that doesn't know its own name gives none: it is reached as this one was.
            node = Node(host.decode() if host and host != b"?" else asked.host, port)
            owners.update((slot, node) for slot in self._slots if first <= slot <= last)
        if lacking := set(self._slots) - owners.keys():
            raise BrokerUnavailable(f"No server of the cluster has the slot {min(lacking)}. See `CLUSTER INFO`.")
        return tuple(owners[slot] for slot in self._slots)


def places(address: Address) -> Places:
    """Where the channels of `address` are; opens nothing."""
    return {Kind.SENTINEL: BySentinel, Kind.CLUSTER: Cluster}.get(address.kind, Direct)(address)


def _options(address: Address) -> Mapping[str, Any]:
    return {"db": address.db, "username": address.user, "password": address.password, **_tls(address)}


def _tls(address: Address, *, client: bool = False) -> Mapping[str, Any]:
    """For a connection of redis-py; for its client, which has a flag besides."""
    if address.tls is None:
        return {}
    return {**address.tls, "ssl": True} if client else address.tls
