"""The topics that one listener follows at Redis, and its connections. It has no thread of its own.

Its listener waits for the connections and calls `connect`, which may block, when `needs_connect`; then `send`,
`receive` and `check_alive`, which never block. Each may raise `BrokerUnavailable`: then a connection is lost, and
the listener calls `connect` again after a pause; in a cluster, messages of the other servers arrive meanwhile.
`follow` and `forget` are called by other threads; their changes are sent by the next `send`, for which `wake` wakes
the listener. A PING after the subscribe commands is a barrier: its answer shows that Redis has done them all.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection
from typing import Any, Final, NamedTuple

import hiredis

from telltale import native
from telltale.brokers.base import BrokerUnavailable
from telltale.brokers.delivery import Callbacks
from telltale.brokers.redis.address import Node
from telltale.brokers.redis.channels import Command, ping
from telltale.brokers.redis.connection import ConnectionLost, RedisConnection, with_advice
from telltale.brokers.redis.topology import ShardMap, Topology

KEEPALIVE_S: Final = 4.0
"""After so long without a byte from Redis, it is sent a PING."""

ANSWER_TIMEOUT_S: Final = 4.0
"""How long Redis may take to answer that PING."""

SEND_POLL_S: Final = 0.005
"""Between two attempts to send while the kernel's buffer is full."""


class SubscribeBarrier:
    """Passed once all topics of one call of `follow` are subscribed."""

    def __init__(self, topics: Collection[str] | None) -> None:
        self.topics = topics
        """None: all followed topics, after a connection was lost."""
        self.passed = native.OneShotEvent()
        """Set when the barrier is passed, or when waiting for it is of no use."""
        self.unanswered_pings = 0
        self.is_sent = False
        """Whether the subscribe commands of all topics are sent."""
        self.report_missed = topics is None
        """Set once no caller waits any more: the topics are reported as missed once the barrier is passed."""


class SubscriptionChange(NamedTuple):
    """A change that is not sent yet: follow the topics, or, without a barrier, forget them."""

    topics: Collection[str]
    barrier: SubscribeBarrier | None


class Subscription:
    """The topics of one listener. `follow`, `forget` and `stop_waiting`: any thread; the rest: the listener only."""

    def __init__(self, topology: Topology, callbacks: Callbacks, wake: Callable[[], None]) -> None:
        self._topology, self._callbacks, self._wake = topology, callbacks, wake
        self._channels = topology.channels
        self._lock = native.lock()
        self._followed: set[str] = set()
        self._changes: list[SubscriptionChange] = []
        self._barriers: dict[bytes, SubscribeBarrier] = {}
        self._last_barrier = 0
        self._shard_map: ShardMap = ()
        self._is_map_stale = True
        self._connections: dict[Node, MonitoredConnection] = {}
        self._unsubscribing: Counter[str] = Counter()
        """Topic → number of unsubscribe commands that are unanswered."""
        self.needs_connect = True
        """Whether `connect` has something to do."""
        self.is_interrupted = False
        """Whether a connection was lost, and not all topics are subscribed again yet."""

    def follow(self, topics: Collection[str]) -> SubscribeBarrier:
        """Follow these topics too; wait for `passed` of the result."""
        barrier = SubscribeBarrier(tuple(topics))
        with self._lock:
            self._followed.update(topics)
            self._changes.append(SubscriptionChange(barrier.topics or (), barrier))
            if self.is_interrupted:
                barrier.report_missed = True
                barrier.passed.set()
        self._wake()
        return barrier

    def forget(self, topics: Collection[str]) -> None:
        """Unsubscribe from these topics."""
        with self._lock:
            self._followed.difference_update(topics)
            self._changes.append(SubscriptionChange(tuple(topics), None))
        self._wake()

    def stop_waiting(self, barrier: SubscribeBarrier) -> None:
        """Report the topics of a barrier that is not passed yet as missed, once it is passed."""
        with self._lock:
            barrier.report_missed |= not barrier.passed.is_set()

    # Called by the listener ---------------------------------------------------------------------

    def connections(self) -> list[RedisConnection]:
        """The connections to wait for; they change with each `connect` and each error."""
        return [monitored.connection for monitored in self._connections.values()]

    def due_s(self, now: float) -> float:
        """The longest that the listener may wait for its connections, in seconds."""
        return min((connection.due_s(now) for connection in self._connections.values()), default=KEEPALIVE_S)

    def connect(self) -> None:
        """Open as many of the missing connections as possible. May block for seconds."""
        try:
            self._open_connections()
        except BrokerUnavailable:
            if self.is_interrupted:
                # Until the connections are open again, followers re-read the store after each attempt.
                self._callbacks.report_missed()
            raise

    def _open_connections(self) -> None:
        if self._is_map_stale:
            self._shard_map = self._topology.shard_map()
        failure: BrokerUnavailable | None = None
        for node in self._needed_nodes() - self._connections.keys():
            try:
                connection = self._topology.connect(node, self._channels.listen_check)
            except BrokerUnavailable as error:
                failure = error
            else:
                self._connections[node] = MonitoredConnection(connection, time.monotonic())
        if failure is not None:
            raise failure
        self._is_map_stale = self.needs_connect = False

    def send(self) -> None:
        """Send the changes; those whose server is not connected are kept."""
        with self._lock:
            changes, self._changes = self._changes, []
        unsent = [rest for change in changes if (rest := self._queue_change(change)) is not None]
        if unsent:
            self.needs_connect = True
            with self._lock:
                self._changes[:0] = unsent
        self._on_each(MonitoredConnection.send)

    def receive(self) -> None:
        """Read what has arrived, once from each server, and deliver it."""
        self._on_each(self._receive_from)

    def check_alive(self, now: float) -> None:
        """Check that the servers answer. `now`: a moment before the last `receive`."""
        self._on_each(lambda connection: connection.check_alive(now))

    def drop_connections(self) -> None:
        """Close all connections; after the next `connect`, all topics are subscribed again and reported as missed."""
        for node in list(self._connections):
            self._drop(node)

    def close(self) -> None:
        """Close all connections for good."""
        for connection in self.connections():
            connection.close()
        self._connections = {}

    def after_fork(self) -> None:
        """In the child: close the copies of the parent's connections; nothing is received."""
        self._lock = native.lock()
        self.close()

    # Connections --------------------------------------------------------------------------------

    def _on_each(self, action: "Callable[[MonitoredConnection], None]") -> None:
        """Call `action` for all connections; drop those that are lost, then raise `ConnectionLost`."""
        failure: ConnectionLost | None = None
        for node, connection in list(self._connections.items()):
            try:
                action(connection)
            except ConnectionLost as error:
                failure = error
                self._drop(node)
        if failure is not None:
            raise failure

    def _drop(self, node: Node) -> None:
        self._connections.pop(node).connection.close()
        self._is_map_stale = self.needs_connect = True
        self._unsubscribing.clear()
        with self._lock:
            unpassed = [*self._barriers.values(), *(change.barrier for change in self._changes if change.barrier)]
            self._barriers.clear()
            # All topics are subscribed again, at the server that has them then. Subscribing twice does no harm.
            forgetting = [change for change in self._changes if change.barrier is None]
            self._changes = [*forgetting, SubscriptionChange(tuple(self._followed), SubscribeBarrier(None))]
            self.is_interrupted = True
        for barrier in unpassed:
            barrier.passed.set()

    def _needed_nodes(self) -> set[Node]:
        if self._channels.buckets == 1:
            return set(self._shard_map)
        with self._lock:
            return {self._node(topic) for topic in self._followed}

    def _node(self, topic: str) -> Node:
        return self._shard_map[self._channels.bucket(topic)]

    # Sending ------------------------------------------------------------------------------------

    def _queue_change(self, change: SubscriptionChange) -> SubscriptionChange | None:
        """Queue the commands for a change; return the part whose servers are not connected."""
        connected: list[str] = []
        unconnected: list[str] = []
        for topic in change.topics:
            has_connection = self._shard_map and self._node(topic) in self._connections
            (connected if has_connection else unconnected).append(topic)
        barrier = change.barrier
        if barrier is None:
            # Without a connection nothing is subscribed, so there is nothing to unsubscribe from.
            self._unsubscribing.update(connected)
            self._queue(self._channels.unsubscribe_commands(connected))
            return None
        nodes = self._queue(self._channels.subscribe_commands(connected))
        self._queue_pings(barrier, nodes)
        barrier.is_sent = not unconnected
        self._pass_if_done(barrier)
        return SubscriptionChange(unconnected, barrier) if unconnected else None

    def _queue(self, commands: Collection[Command]) -> Collection[Node]:
        """Queue commands for their servers; return these."""
        by_node: defaultdict[Node, list[bytes]] = defaultdict(list)
        for command in commands:
            by_node[self._shard_map[command.bucket]].append(command.packed)
        for node, packed in by_node.items():
            self._connections[node].connection.queue(b"".join(packed))
        return by_node

    def _queue_pings(self, barrier: SubscribeBarrier, nodes: Collection[Node]) -> None:
        if not nodes:
            return
        self._last_barrier += 1
        token = b"%d" % self._last_barrier
        barrier.unanswered_pings += len(nodes)
        with self._lock:
            self._barriers[token] = barrier
        for node in nodes:
            self._connections[node].connection.queue(ping(token))

    # Receiving ----------------------------------------------------------------------------------

    def _receive_from(self, connection: "MonitoredConnection") -> None:
        message_kind = self._channels.message_kind
        bodies, other_replies = [], []
        for reply in connection.replies():
            if type(reply) is list and reply[0] == message_kind:
                bodies.append(reply[2])
            else:
                other_replies.append(reply)
        # A message arrives once for each of its topics that is followed: deliver equal bodies once.
        self._callbacks.deliver(list(dict.fromkeys(bodies)))
        for reply in other_replies:
            self._handle_other(reply)

    def _handle_other(self, reply: Any) -> None:
        """Handle a reply that is no message."""
        if isinstance(reply, hiredis.ReplyError):
            raise ConnectionLost(f"Redis rejects subscribing: {with_advice(reply)}")
        if not isinstance(reply, list):
            self._ping_answered(reply)
        elif reply[0] == b"pong":
            self._ping_answered(reply[1])
        elif reply[0] == self._channels.unsubscribed_kind:
            self._unsubscribed(self._channels.topic(reply[1]))

    def _unsubscribed(self, topic: str) -> None:
        """Redis has unsubscribed a topic: on request, or because its shard has moved to another server."""
        if topic in self._unsubscribing:
            self._unsubscribing[topic] -= 1
            if not self._unsubscribing[topic]:
                del self._unsubscribing[topic]
            return
        with self._lock:
            is_followed = topic in self._followed
        if is_followed:
            raise ConnectionLost("A shard of the cluster has moved to another server.")

    def _ping_answered(self, token: bytes) -> None:
        barrier = self._barriers.get(token)
        if barrier is not None:
            barrier.unanswered_pings -= 1
            self._pass_if_done(barrier)

    def _pass_if_done(self, barrier: SubscribeBarrier) -> None:
        if barrier.unanswered_pings or not barrier.is_sent:
            return
        with self._lock:
            self._barriers = {token: other for token, other in self._barriers.items() if other is not barrier}
            barrier.passed.set()
            if barrier.topics is None:
                self.is_interrupted = False
        if barrier.report_missed:
            self._callbacks.report_missed(barrier.topics)


class MonitoredConnection:
    """A connection, and the check that its server still answers. Any byte counts as an answer."""

    def __init__(self, connection: RedisConnection, now: float) -> None:
        self.connection = connection
        self._heard_at = now
        self._pinged_at: float | None = None

    def replies(self) -> list[Any]:
        """The replies that have arrived."""
        replies = self.connection.replies()
        if replies:
            self._pinged_at = None
            self._heard_at = time.monotonic()
        return replies

    def due_s(self, now: float) -> float:
        """After how many seconds to look again, if nothing arrives before."""
        if self.connection.may_have_more:
            return 0.0
        if self.connection.has_unsent:
            return SEND_POLL_S
        due_at = self._heard_at + KEEPALIVE_S if self._pinged_at is None else self._pinged_at + ANSWER_TIMEOUT_S
        return max(0.0, due_at - now)

    def send(self) -> None:
        """Send as many queued bytes as the kernel takes."""
        if self.connection.has_unsent:
            self.connection.send()

    def check_alive(self, now: float) -> None:
        """Send a PING to a silent server; raises `ConnectionLost` if it does not answer in time."""
        if self._pinged_at is not None and now - self._pinged_at >= ANSWER_TIMEOUT_S:
            raise ConnectionLost(f"Redis has been silent for {now - self._heard_at:.0f} s.")
        if self._pinged_at is None and now - self._heard_at >= KEEPALIVE_S:
            self._pinged_at = now
            self.connection.queue(ping(b""))
            self.connection.send()
