"""What one listener follows at Redis, without a thread of its own: whoever drives it waits for its descriptors.

The driver calls `connect`, which may block, when `lacks_line`; then `speak`, `hear` and `check`, which never do,
in turn. Each may raise `BrokerUnavailable`: then some line is lost, and `connect` is due after a pause; of a
cluster, the other servers are heard meanwhile. What is wished from other threads (`follow`, `forget`) is said at
the next `speak`; `ring` tells the driver of it. A ping behind subscriptions is their fence: its answer says that
all before it are heard.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection
from typing import Any, Final, NamedTuple

import hiredis

from telltale import native
from telltale.brokers.base import BrokerUnavailable
from telltale.brokers.delivery import Callbacks
from telltale.brokers.redis.channels import Command, ping
from telltale.brokers.redis.line import Line, LineLost, with_mend
from telltale.brokers.redis.topology import Chart, Places
from telltale.brokers.redis.url import Node

QUIET_S: Final = 4.0
"""After so long without a word Redis is asked whether it is there."""

ANSWER_S: Final = 4.0
"""So long it may take to say so."""

BEHIND_S: Final = 0.005
"""Between two tries to send what the kernel would not take yet."""


class Fence:
    """What was wished together. It is passed when all of it is heard."""

    def __init__(self, topics: Collection[str] | None) -> None:
        self.topics = topics
        """None: all, after a line was lost."""
        self.gate = native.OneShotEvent()
        self.unanswered = 0
        """Pings."""
        self.is_said = False
        """Whether all of it was told to Redis."""
        self.is_late = topics is None
        """Nobody waits for it any more: its topics are reported as missed once it is passed."""


class Wish(NamedTuple):
    """Not said yet. Without a fence it is to forget the topics."""

    topics: Collection[str]
    fence: Fence | None


class Subscription:
    """Of one listener. `follow`, `forget`, `give_up`: any thread; all else: the driver's."""

    def __init__(self, places: Places, hearer: Callbacks, ring: Callable[[], None]) -> None:
        self._places, self._hearer, self._ring = places, hearer, ring
        self._channels = places.channels
        self._lock = native.lock()
        self._followed: set[str] = set()
        self._wishes: list[Wish] = []
        self._fences: dict[bytes, Fence] = {}
        self._fences_made = 0
        self._chart: Chart = ()
        self._is_stale = True
        self._servers: dict[Node, Server] = {}
        self._leaving: Counter[str] = Counter()
        self.lacks_line = True
        """Whether `connect` has something to do."""
        self.is_lost = False
        """Between a loss and the moment at which all is heard again."""

    def follow(self, topics: Collection[str]) -> Fence:
        """Hear these too; the gate opens when they are heard, or when waiting is of no use."""
        fence = Fence(tuple(topics))
        with self._lock:
            self._followed.update(topics)
            self._wishes.append(Wish(fence.topics or (), fence))
            if self.is_lost:
                fence.is_late = True
                fence.gate.set()
        self._ring()
        return fence

    def forget(self, topics: Collection[str]) -> None:
        """Hear these no more."""
        with self._lock:
            self._followed.difference_update(topics)
            self._wishes.append(Wish(tuple(topics), None))
        self._ring()

    def give_up(self, fence: Fence) -> None:
        """Stop waiting: if it is not passed yet, its topics will be told as missed when it is."""
        with self._lock:
            fence.is_late |= not fence.gate.is_set()

    # The driver's -------------------------------------------------------------------------------

    def lines(self) -> list[Line]:
        """To wait for; others after each `connect`, and after an error."""
        return [server.line for server in self._servers.values()]

    def due_s(self, now: float) -> float:
        """How long the driver may wait for them, in seconds."""
        return min((server.due_s(now) for server in self._servers.values()), default=QUIET_S)

    def connect(self) -> None:
        """Find the servers and open the lines that lack, as many as can be. May block for seconds."""
        try:
            self._open_lines()
        except BrokerUnavailable:
            if self.is_lost:
                # Until the lines are back, whoever listens looks for itself, at the pace of these tries.
                self._hearer.misses()
            raise

    def _open_lines(self) -> None:
        if self._is_stale:
            self._chart = self._places.chart()
        failure: BrokerUnavailable | None = None
        for node in self._needed() - self._servers.keys():
            try:
                line = self._places.line(node, self._channels.hello_listening)
            except BrokerUnavailable as error:
                failure = error
            else:
                self._servers[node] = Server(line, time.monotonic())
        if failure is not None:
            raise failure
        self._is_stale = self.lacks_line = False

    def speak(self) -> None:
        """Tell Redis what has been wished; what lacks a line waits for it."""
        with self._lock:
            wishes, self._wishes = self._wishes, []
        unsaid = [left for wish in wishes if (left := self._say(wish)) is not None]
        if unsaid:
            self.lacks_line = True
            with self._lock:
                self._wishes[:0] = unsaid
        self._on_each(Server.send_on)

    def hear(self) -> None:
        """Read what has come, once from each server, and hand it over."""
        self._on_each(self._hear_from)

    def check(self, now: float) -> None:
        """See that the servers live. `now`: before they were last read."""
        self._on_each(lambda server: server.check(now))

    def drop(self) -> None:
        """Let go of all lines; once they are there again everything is followed anew, and told as missed."""
        for node in list(self._servers):
            self._lose(node)

    def close(self) -> None:
        """Let go of all lines, for good."""
        for server in self._servers.values():
            server.line.close()
        self._servers = {}

    def after_fork(self) -> None:
        """In the child: its copies of the parent's lines are closed, and nothing is heard."""
        self._lock = native.lock()
        self.close()

    # Lines --------------------------------------------------------------------------------------

    def _on_each(self, act: "Callable[[Server], None]") -> None:
        failure: LineLost | None = None
        for node, server in list(self._servers.items()):
            try:
                act(server)
            except LineLost as error:
                failure = error
                self._lose(node)
        if failure is not None:
            raise failure

    def _lose(self, node: Node) -> None:
        self._servers.pop(node).line.close()
        self._is_stale = self.lacks_line = True
        self._leaving.clear()
        with self._lock:
            waiting = [*self._fences.values(), *(wish.fence for wish in self._wishes if wish.fence)]
            self._fences.clear()
            # All is followed anew, wherever it is now; to say so twice to a server that is well does no harm.
            forgetting = [wish for wish in self._wishes if wish.fence is None]
            self._wishes = [*forgetting, Wish(tuple(self._followed), Fence(None))]
            self.is_lost = True
        for fence in waiting:
            fence.gate.set()

    def _needed(self) -> set[Node]:
        if self._channels.buckets == 1:
            return set(self._chart)
        with self._lock:
            return {self._node(topic) for topic in self._followed}

    def _node(self, topic: str) -> Node:
        return self._chart[self._channels.bucket(topic)]

    # Speaking -----------------------------------------------------------------------------------

    def _say(self, wish: Wish) -> Wish | None:
        """Queue the commands; gives what of it has no line yet."""
        present: list[str] = []
        absent: list[str] = []
        for topic in wish.topics:
            (present if self._chart and self._node(topic) in self._servers else absent).append(topic)
        fence = wish.fence
        if fence is None:
            # Where there is no line nothing is heard, so nothing needs to be forgotten.
            self._leaving.update(present)
            self._queue(self._channels.forgetting(present))
            return None
        by_node = self._queue(self._channels.following(present))
        self._raise_fence(fence, by_node)
        fence.is_said = not absent
        self._pass_if_done(fence)
        return Wish(absent, fence) if absent else None

    def _queue(self, commands: Collection[Command]) -> Collection[Node]:
        found: defaultdict[Node, list[bytes]] = defaultdict(list)
        for command in commands:
            found[self._chart[command.bucket]].append(command.packed)
        for node, packed in found.items():
            self._servers[node].line.queue(b"".join(packed))
        return found

    def _raise_fence(self, fence: Fence, nodes: Collection[Node]) -> None:
        if not nodes:
            return
        self._fences_made += 1
        name = b"%d" % self._fences_made
        fence.unanswered += len(nodes)
        with self._lock:
            self._fences[name] = fence
        for node in nodes:
            self._servers[node].line.queue(ping(name))

    # Hearing ------------------------------------------------------------------------------------

    def _hear_from(self, server: "Server") -> None:
        message = self._channels.message
        bodies, others = [], []
        for reply in server.replies():
            if type(reply) is list and reply[0] == message:
                bodies.append(reply[2])
            else:
                others.append(reply)
        # The same body comes once for each of its topics that is followed.
        self._hearer.hears(list(dict.fromkeys(bodies)))
        for reply in others:
            self._notice(reply)

    def _notice(self, reply: Any) -> None:
        """Anything but a message."""
        if isinstance(reply, hiredis.ReplyError):
            raise LineLost(f"Redis will not let channels be followed: {with_mend(reply)}")
        if not isinstance(reply, list):
            self._answered(reply)
        elif reply[0] == b"pong":
            self._answered(reply[1])
        elif reply[0] == self._channels.left:
            self._left(self._channels.topic(reply[1]))

    def _left(self, topic: str) -> None:
        """Redis says that it is heard no more; unasked, when its shard has moved to another server."""
        if topic in self._leaving:
            self._leaving[topic] -= 1
            if not self._leaving[topic]:
                del self._leaving[topic]
            return
        with self._lock:
            is_followed = topic in self._followed
        if is_followed:
            raise LineLost("A shard of the cluster has moved to another server.")

    def _answered(self, name: bytes) -> None:
        fence = self._fences.get(name)
        if fence is not None:
            fence.unanswered -= 1
            self._pass_if_done(fence)

    def _pass_if_done(self, fence: Fence) -> None:
        if fence.unanswered or not fence.is_said:
            return
        with self._lock:
            self._fences = {name: other for name, other in self._fences.items() if other is not fence}
            fence.gate.set()
            if fence.topics is None:
                self.is_lost = False
        if fence.is_late:
            self._hearer.misses(fence.topics)


class Server:
    """One line, and whether there is life in it. Any byte is a sign of life."""

    def __init__(self, line: Line, now: float) -> None:
        self.line = line
        self._heard_at = now
        self._asked_at: float | None = None

    def replies(self) -> list[Any]:
        """Whatever has come."""
        replies = self.line.replies()
        if replies:
            self._asked_at = None
            self._heard_at = time.monotonic()
        return replies

    def due_s(self, now: float) -> float:
        """When to look again, if nothing comes before."""
        if self.line.has_more:
            return 0.0
        if self.line.is_behind:
            return BEHIND_S
        at = self._heard_at + QUIET_S if self._asked_at is None else self._asked_at + ANSWER_S
        return max(0.0, at - now)

    def send_on(self) -> None:
        """Send what is queued, as far as the kernel takes it."""
        if self.line.is_behind:
            self.line.send()

    def check(self, now: float) -> None:
        """Ask whether it lives, or give it up."""
        if self._asked_at is not None and now - self._asked_at >= ANSWER_S:
            raise LineLost(f"Redis has said nothing for {now - self._heard_at:.0f} s.")
        if self._asked_at is None and now - self._heard_at >= QUIET_S:
            self._asked_at = now
            self.line.queue(ping(b""))
            self.line.send()
