"""The servers that have a site's channels: one server, the master that sentinels name, or a cluster.

A topology gives its shard map, bucket → server, and connections to those servers. All of it may block for
seconds, so it is called in threads that may block. Publisher and subscription ask for a new shard map whenever a
connection is lost.
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
from telltale.brokers.redis.address import Deployment, Node, RedisAddress
from telltale.brokers.redis.channels import BUCKETS, Channels
from telltale.brokers.redis.connection import (
    CONNECT_TIMEOUT_S,
    RedisConnection,
    open_connection,
    run_command,
    unavailable,
)

ShardMap = tuple[Node, ...]
"""The server of each bucket."""


class Topology(Protocol):
    """The servers of one address."""

    channels: Channels

    def shard_map(self) -> ShardMap:
        """The present shard map. Blocks; raises `BrokerUnavailable`."""

    def connect(self, node: Node, check: tuple[str, ...]) -> RedisConnection:
        """A connection to a server of the shard map, after the command `check`. Blocks; raises `BrokerUnavailable`."""


class SingleServerTopology:
    """One server."""

    buckets = 1

    def __init__(self, address: RedisAddress) -> None:
        self._address = address
        self._options = _options(address)
        self.channels = Channels(address.prefix, self.buckets)

    def shard_map(self) -> ShardMap:
        """The server that the URL names."""
        return self._address.nodes

    def connect(self, node: Node, check: tuple[str, ...]) -> RedisConnection:
        """See `Topology`."""
        return open_connection(node, self._options, check)


class SentinelTopology(SingleServerTopology):
    """The present master, which sentinels name."""

    def shard_map(self) -> ShardMap:
        """The master, by the first sentinel that can be reached and knows one."""
        sentinels = random.sample(self._address.nodes, len(self._address.nodes))
        credentials = {"username": self._address.sentinel_user, "password": self._address.sentinel_password}
        timeouts = {"socket_timeout": CONNECT_TIMEOUT_S, "socket_connect_timeout": CONNECT_TIMEOUT_S}
        options = {**credentials, **timeouts, **_tls(self._address, client=True)}
        sentinel_class: Any = redis.sentinel.Sentinel
        client = sentinel_class(sentinels, sentinel_kwargs={**options, "retry": Retry(NoBackoff(), 0), "protocol": 2})
        try:
            host, port = client.discover_master(self._address.master)
        except (redis.RedisError, OSError) as error:
            raise unavailable(sentinels[0], error) from error
        finally:
            for sentinel in client.sentinels:
                sentinel.close()
        return (Node(host, int(port)),)


class ClusterTopology(SingleServerTopology):
    """Several masters, each with a part of the buckets."""

    buckets = BUCKETS

    def __init__(self, address: RedisAddress) -> None:
        super().__init__(address)
        self._last_map: ShardMap = ()
        self._slots: Final = [key_slot(prefix) for prefix in self.channels.prefixes]

    def shard_map(self) -> ShardMap:
        """The shard map, by the first server that can be reached, of the last shard map and the URL."""
        candidates = list({*self._last_map, *self._address.nodes})
        random.shuffle(candidates)
        for node in candidates:
            try:
                self._last_map = self._parse(run_command(node, self._options, ("CLUSTER", "SLOTS")), node)
            except BrokerUnavailable as error:
                failure = error
            else:
                return self._last_map
        raise failure

    def _parse(self, slot_ranges: Any, asked: Node) -> ShardMap:
        owners: dict[int, Node] = {}
        for first, last, (host, port, *_), *_replicas in slot_ranges:
            # A server that doesn't know its own name gives none: then use the name by which it was reached.
            node = Node(host.decode() if host and host != b"?" else asked.host, port)
            owners.update((slot, node) for slot in self._slots if first <= slot <= last)
        if missing := set(self._slots) - owners.keys():
            raise BrokerUnavailable(f"No server of the cluster has the slot {min(missing)}. See `CLUSTER INFO`.")
        return tuple(owners[slot] for slot in self._slots)


def build_topology(address: RedisAddress) -> Topology:
    """The topology of `address`; opens nothing."""
    topologies = {Deployment.SENTINEL: SentinelTopology, Deployment.CLUSTER: ClusterTopology}
    return topologies.get(address.deployment, SingleServerTopology)(address)


def _options(address: RedisAddress) -> Mapping[str, Any]:
    return {"db": address.db, "username": address.user, "password": address.password, **_tls(address)}


def _tls(address: RedisAddress, *, client: bool = False) -> Mapping[str, Any]:
    """TLS options for a connection of redis-py; its client needs the option `ssl` besides."""
    if address.tls is None:
        return {}
    return {**address.tls, "ssl": True} if client else address.tls
