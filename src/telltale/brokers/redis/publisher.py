"""Publishing: one connection a process (in a cluster, one to each server), which stays open.

Publishing normally does not wait for Redis. When a connection can't be made for the first time, the caller waits
for `PUBLISH_TIMEOUT_S` at most; from then on connecting goes on in the background, and `publish` fails at once.
"""

import random
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from functools import partial
from typing import Final, NamedTuple

from telltale import native
from telltale.brokers.base import BrokerUnavailable, Message
from telltale.brokers.delivery import without_oversized
from telltale.brokers.redis.address import Node
from telltale.brokers.redis.background_connect import BackgroundConnect
from telltale.brokers.redis.channels import Command
from telltale.brokers.redis.connection import ConnectionLost, RedisConnection
from telltale.brokers.redis.sender import PublishRejected, Sender
from telltale.brokers.redis.topology import ShardMap, Topology
from telltale.native import call_after_fork

PUBLISH_TIMEOUT_S: Final = 0.5
"""The longest that a call of `publish` blocks, and only one call in an outage does."""

RETRY_S: Final = (0.5, 10.0)
"""The first and the longest pause between two attempts to connect; doubling in between."""

ATTEMPTS: Final = 3
"""Attempts to send in one call: connections that broke since the last call are made again."""


class OpenedConnections(NamedTuple):
    """The result of connecting."""

    shard_map: ShardMap
    connections: dict[Node, RedisConnection]

    def close(self) -> None:
        """Close all connections."""
        for connection in self.connections.values():
            connection.close()


class Publisher:
    """Publishes for one broker, from any thread. No switch of greenlets happens under its lock."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._reset()
        call_after_fork(self)

    def publish(self, messages: Sequence[Message]) -> None:
        """See `Broker.publish`."""
        commands = self._topology.channels.publish_commands(without_oversized(messages))
        if not commands:
            return
        deadline = time.monotonic() + PUBLISH_TIMEOUT_S
        if not self._lock.acquire(timeout=PUBLISH_TIMEOUT_S):
            raise BrokerUnavailable("Another thread still waits for Redis.")
        try:
            self._publish(commands, deadline)
        except PublishRejected as error:
            self._failed(error)
            for node in list(self._senders):
                self._drop_sender(node)
            raise
        finally:
            self._lock.release()

    def close(self) -> None:
        """Close the connections after the last answers."""
        with self._lock:
            deadline = time.monotonic() + PUBLISH_TIMEOUT_S
            for sender in self._senders.values():
                sender.finish(deadline)
            if self._background_connect is not None:
                self._background_connect.abandon()
            self._reset_connections()

    def after_fork(self) -> None:
        """Close the copies of the parent's connections; the child opens its own."""
        for sender in self._senders.values():
            sender.close()
        self._reset()

    def _reset(self) -> None:
        self._lock = native.lock()
        self._reset_connections()

    def _reset_connections(self) -> None:
        self._shard_map: ShardMap | None = None
        self._is_map_stale = False
        self._senders: dict[Node, Sender] = {}
        self._background_connect: BackgroundConnect[OpenedConnections] | None = None
        self._failures = 0
        self._last_error = BrokerUnavailable("Redis has not been connected to yet.")
        self._retry_at = 0.0

    # Under the lock -----------------------------------------------------------------------------

    def _publish(self, commands: list[Command], deadline: float) -> None:
        unsent = [*self._read_answers(), *commands]
        for _ in range(ATTEMPTS):
            unsent = self._send(unsent, deadline)
            if not unsent:
                return
            self._connect({command.bucket for command in unsent}, deadline)
        raise BrokerUnavailable("The connections to Redis break as soon as they are made.")

    def _read_answers(self) -> list[Command]:
        """Read new answers; return earlier commands to send again: those lost, or sent to the wrong server."""
        to_resend: list[Command] = []
        for node, sender in list(self._senders.items()):
            try:
                moved = sender.read_answers()
            except ConnectionLost:
                to_resend += self._drop_sender(node)
                continue
            if moved:
                self._shard_map = None
                to_resend += moved
        return to_resend

    def _send(self, commands: list[Command], deadline: float) -> list[Command]:
        """Send the commands whose server is connected; return the others."""
        if self._shard_map is None:
            return commands
        unsent: list[Command] = []
        for node, node_commands in self._by_node(self._shard_map, commands).items():
            sender = self._senders.get(node)
            if sender is None:
                unsent += node_commands
                continue
            try:
                sender.send(node_commands, deadline)
            except ConnectionLost:
                unsent += self._drop_sender(node)
        return unsent

    def _by_node(self, shard_map: ShardMap, commands: list[Command]) -> dict[Node, list[Command]]:
        if len(shard_map) == 1:
            return {shard_map[0]: commands}
        by_node: defaultdict[Node, list[Command]] = defaultdict(list)
        for command in commands:
            by_node[shard_map[command.bucket]].append(command)
        return by_node

    def _drop_sender(self, node: Node) -> Iterable[Command]:
        """Close a connection; return its unanswered commands. The shard map must be read again."""
        sender = self._senders.pop(node)
        sender.close()
        self._is_map_stale = True
        return sender.unanswered

    def _connect(self, buckets: Collection[int], deadline: float) -> None:
        """Connect to the servers of `buckets`; raises `BrokerUnavailable` if that fails or takes too long."""
        wait_s = 0.0
        if self._background_connect is None:
            if time.monotonic() < self._retry_at:
                raise BrokerUnavailable(f"Redis is tried again in a moment, after this error: {self._last_error}")
            shard_map = None if self._is_map_stale else self._shard_map
            connect = partial(
                _open_connections, self._topology, shard_map, frozenset(buckets), frozenset(self._senders)
            )
            self._background_connect = BackgroundConnect(connect, OpenedConnections.close)
            wait_s = 0.0 if self._failures else max(0.0, deadline - time.monotonic())
        if not self._background_connect.wait(wait_s):
            raise BrokerUnavailable("Redis is still being connected to.")
        ended, self._background_connect = self._background_connect, None
        try:
            opened = ended.result()
        except BrokerUnavailable as error:
            self._failed(error)
            raise
        self._use(opened)

    def _use(self, opened: OpenedConnections) -> None:
        self._shard_map, self._is_map_stale, self._failures = opened.shard_map, False, 0
        asks_role = self._topology.channels.buckets == 1
        for node, connection in opened.connections.items():
            self._senders[node] = Sender(connection, asks_role=asks_role)
        for node in self._senders.keys() - set(opened.shard_map):
            self._senders.pop(node).close()

    def _failed(self, error: BrokerUnavailable) -> None:
        first_s, longest_s = RETRY_S
        pause_s = min(longest_s, first_s * 2**self._failures) * (0.5 + random.random() / 2)  # noqa: S311
        self._failures = min(self._failures + 1, 16)
        self._last_error, self._retry_at = error, time.monotonic() + pause_s


def _open_connections(
    topology: Topology, shard_map: ShardMap | None, buckets: Collection[int], connected: Collection[Node]
) -> OpenedConnections:
    """Connect to the servers of `buckets` that are not in `connected`; read the shard map if it is None."""
    opened = OpenedConnections(shard_map or topology.shard_map(), {})
    try:
        for node in {opened.shard_map[bucket] for bucket in buckets} - set(connected):
            opened.connections[node] = topology.connect(node, topology.channels.publish_check)
    except BrokerUnavailable:
        opened.close()
        raise
    return opened
