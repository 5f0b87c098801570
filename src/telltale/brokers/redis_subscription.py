"""What one listener follows at Redis, without a thread of its own: whoever drives it waits for its descriptors.

The driver calls `connect`, which may block, whenever `lacks_line`; then `speak`, `hear` and `check`, which
never do, in turn. At a `BrokerUnavailable` of any of them it calls `drop`, pauses, and begins again. What is
wished from other threads (`follow`, `forget`) is said at the next `speak`; `ring` tells the driver of it.

A ping behind the subscriptions is the fence: its answer says that all before it are heard.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable
from typing import Any, Final, NamedTuple

import hiredis

from telltale import native
from telltale.brokers.listening import Hearer
from telltale.brokers.redis_channels import Command, ping
from telltale.brokers.redis_line import Line, LineLost
from telltale.brokers.redis_places import Chart, Places
from telltale.brokers.redis_url import Node

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
        """None: all, after the line was lost."""
        self.gate = native.Gate()
        self.servers = 0
        """That have not answered yet."""
        self.is_late = topics is None
        """Nobody waits for it any more: its topics are reported as missed once it is passed."""


class Wish(NamedTuple):
    """Not said yet. Without a fence it is to forget the topics."""

    topics: Collection[str]
    fence: Fence | None


class Subscription:
    """Of one listener. `follow`, `forget`, `give_up`: any thread; all else: the driver's."""

    def __init__(self, places: Places, hearer: Hearer, ring: Callable[[], None]) -> None:
        self._places, self._hearer, self._ring = places, hearer, ring
        self._lock = native.lock()
        self._followed: set[str] = set()
        self._wishes: list[Wish] = []
        self._fences: dict[bytes, Fence] = {}
        self._fences_made = 0
        self._chart: Chart | None = None
        self._servers: dict[Node, Server] = {}
        self._leaving: Counter[str] = Counter()
        self.lacks_line = True
        """Whether `connect` has something to do."""
        self.is_lost = False
        """Between a loss and the moment at which all is heard again."""

    def follow(self, topics: Collection[str]) -> Fence:
        """Hear these too; the fence is passed when they are heard, or when waiting is of no use."""
        fence = Fence(tuple(topics))
        with self._lock:
            self._followed.update(topics)
            self._wishes.append(Wish(fence.topics or (), fence))
            if self.is_lost:
                fence.is_late = True
                fence.gate.open()
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
            fence.is_late |= not fence.gate.is_open

    # The driver's -------------------------------------------------------------------------------

    def filenos(self) -> list[int]:
        """To wait for; others after each `connect` and `drop`."""
        return [server.line.fileno() for server in self._servers.values()]

    def due_s(self, now: float) -> float:
        """How long the driver may wait for them, in seconds."""
        return min((server.due_s(now) for server in self._servers.values()), default=QUIET_S)

    def connect(self) -> None:
        """Find the servers and open the lines that lack. May block for seconds; raises `BrokerUnavailable`."""
        if self._chart is None:
            self._chart = self._places.chart()
        for node in self._needed(self._chart) - self._servers.keys():
            line = self._places.line(node, self._places.channels.hello_listening)
            self._servers[node] = Server(line, time.monotonic())
        self.lacks_line = False

    def speak(self) -> None:
        """Tell Redis what has been wished; what lacks a line waits for it. Raises `LineLost`."""
        with self._lock:
            wishes, self._wishes = self._wishes, []
        for at, wish in enumerate(wishes):
            if not self._said(wish):
                self.lacks_line = True
                with self._lock:
                    self._wishes[:0] = wishes[at:]
                return

    def hear(self) -> None:
        """Read what has come, once from each server, and hand it over. Raises `LineLost`."""
        for server in self._servers.values():
            replies = server.replies()
            if not replies:
                continue
            message = self._places.channels.message
            bodies, others = [], []
            for reply in replies:
                if type(reply) is list and reply[0] == message:
                    bodies.append(reply[2])
                else:
                    others.append(reply)
            # The same body comes once for each of its topics that is followed.
            self._hearer.hears(list(dict.fromkeys(bodies)))
            for reply in others:
                self._notice(reply)

    def check(self, now: float) -> None:
        """See that the servers live. Raises `LineLost`."""
        for server in self._servers.values():
            server.check(now)

    def drop(self) -> None:
        """Let go of all lines. Once they are there again everything is followed anew, and told as missed."""
        self.close()
        self._chart, self.lacks_line = None, True
        self._leaving.clear()
        everything = Fence(None)
        with self._lock:
            waiting = [*self._fences.values(), *(wish.fence for wish in self._wishes if wish.fence)]
            self._fences.clear()
            self._wishes = [Wish(tuple(self._followed), everything)]
            self.is_lost = True
        for fence in waiting:
            fence.gate.open()

    def close(self) -> None:
        """Let go of all lines, for good."""
        for server in self._servers.values():
            server.line.close()
        self._servers = {}

    def forked(self) -> None:
        """In the child: its copies of the parent's lines are closed, and nothing is heard."""
        self._lock = native.lock()
        self.close()

    def _needed(self, chart: Chart) -> set[Node]:
        channels = self._places.channels
        if len(chart) == 1:
            return set(chart)
        with self._lock:
            return {chart[channels.bucket(topic)] for topic in self._followed}

    def _said(self, wish: Wish) -> bool:
        """False, and nothing said, if it takes a line that is not there."""
        channels, fence = self._places.channels, wish.fence
        if fence is None:
            # Where there is no line nothing is heard, so nothing needs to be forgotten.
            heard = [topic for topic in wish.topics if self._node(channels.bucket(topic)) in self._servers]
            self._leaving.update(heard)
            self._send(self._by_node(channels.forgetting(heard)))
            return True
        by_node = self._by_node(channels.following(wish.topics))
        if by_node.keys() - self._servers.keys():
            return False
        if not by_node:
            self._pass(fence)
            return True
        self._send(by_node, self._fenced(fence, len(by_node)))
        return True

    def _by_node(self, commands: Iterable[Command]) -> dict[Node, list[bytes]]:
        found: defaultdict[Node, list[bytes]] = defaultdict(list)
        for command in commands:
            found[self._node(command.bucket)].append(command.packed)
        return found

    def _node(self, bucket: int) -> Node:
        return (self._chart or ())[bucket]

    def _send(self, by_node: dict[Node, list[bytes]], last: bytes = b"") -> None:
        for node, packed in by_node.items():
            self._servers[node].line.send(b"".join((*packed, last)))

    def _fenced(self, fence: Fence, servers: int) -> bytes:
        """The ping whose answers, from so many servers, pass this fence."""
        self._fences_made += 1
        name = b"%d" % self._fences_made
        fence.servers = servers
        with self._lock:
            self._fences[name] = fence
        return ping(name)

    def _notice(self, reply: Any) -> None:
        """Anything but a message."""
        if isinstance(reply, hiredis.ReplyError):
            raise LineLost(f"Redis will not let channels be followed: {reply}.")
        if not isinstance(reply, list):
            self._answered(reply)
        elif reply[0] == b"pong":
            self._answered(reply[1])
        elif reply[0] == self._places.channels.left:
            self._left(self._places.channels.topic(reply[1]))

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
        if fence is None:
            return
        fence.servers -= 1
        if not fence.servers:
            with self._lock:
                self._fences.pop(name, None)
            self._pass(fence)

    def _pass(self, fence: Fence) -> None:
        with self._lock:
            fence.gate.open()
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

    def check(self, now: float) -> None:
        """Ask whether it lives, or give it up; and send on what was left."""
        if self._asked_at is not None and now - self._asked_at >= ANSWER_S:
            raise LineLost(f"Redis has said nothing for {now - self._heard_at:.0f} s.")
        if self._asked_at is None and now - self._heard_at >= QUIET_S:
            self._asked_at = now
            self.line.send(ping(b""))
        elif self.line.is_behind:
            self.line.send(b"")
