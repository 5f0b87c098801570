"""Publishing by Redis: one line a process (one for each server, of a cluster), kept for as long as it lives.

Nobody waits for Redis in the usual case. The first time that no line can be made the caller waits `WAIT_S` at
most; from then on lines are tried for in the background, and whoever publishes meanwhile is told at once.
"""

import random
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from functools import partial
from typing import Final, NamedTuple

from telltale import native
from telltale.brokers.base import BrokerUnavailable, Message
from telltale.brokers.delivery import carriable
from telltale.brokers.redis.background import Attempt
from telltale.brokers.redis.channels import Command
from telltale.brokers.redis.line import Line, LineLost
from telltale.brokers.redis.sender import Refused, Sender
from telltale.brokers.redis.topology import Chart, Places
from telltale.brokers.redis.url import Node
from telltale.native import call_after_fork

WAIT_S: Final = 0.5
"""So long at most blocks one call of `publish`, and one only in a whole outage."""

RETRY_S: Final = (0.5, 10.0)
"""From the first to the longest pause between two tries, doubling."""

TRIES: Final = 3
"""In one call: lines that were cut since the last one are made anew."""


class Made(NamedTuple):
    """What an attempt brings."""

    chart: Chart
    lines: dict[Node, Line]

    def close(self) -> None:
        """Nobody wants the lines."""
        for line in self.lines.values():
            line.close()


class Publisher:
    """Of one broker; any thread. Nothing under its lock switches greenlets."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._begin()
        call_after_fork(self)

    def publish(self, messages: Sequence[Message]) -> None:
        """See `Broker.publish`."""
        commands = self._places.channels.publishing(carriable(messages))
        if not commands:
            return
        patience_at = time.monotonic() + WAIT_S
        if not self._lock.acquire(timeout=WAIT_S):
            raise BrokerUnavailable("Another thread still waits for Redis.")
        try:
            self._publish(commands, patience_at)
        except Refused as error:
            self._fail(error)
            for node in list(self._senders):
                self._lose(node)
            raise
        finally:
            self._lock.release()

    def close(self) -> None:
        """Let go of the lines, after the last answers."""
        with self._lock:
            patience_at = time.monotonic() + WAIT_S
            for sender in self._senders.values():
                sender.finish(patience_at)
            if self._attempt is not None:
                self._attempt.abandon()
            self._begin_without_lines()

    def after_fork(self) -> None:
        """The lines are the parent's: the child's copies are closed, and it makes its own."""
        for sender in self._senders.values():
            sender.close()
        self._begin()

    def _begin(self) -> None:
        self._lock = native.lock()
        self._begin_without_lines()

    def _begin_without_lines(self) -> None:
        self._chart: Chart | None = None
        self._is_stale = False
        self._senders: dict[Node, Sender] = {}
        self._attempt: Attempt[Made] | None = None
        self._failures = 0
        self._failure = BrokerUnavailable("Redis has not been connected to yet.")
        self._retry_at = 0.0

    # Under the lock -----------------------------------------------------------------------------

    def _publish(self, commands: list[Command], patience_at: float) -> None:
        left = [*self._settle(), *commands]
        for _ in range(TRIES):
            left = self._send(left, patience_at)
            if not left:
                return
            self._connect({command.bucket for command in left}, patience_at)
        raise BrokerUnavailable("The lines to Redis break as soon as they are made.")

    def _settle(self) -> list[Command]:
        """Read what was answered since the last time; gives what has to be sent again, being lost or misled."""
        again: list[Command] = []
        for node, sender in list(self._senders.items()):
            try:
                moved = sender.settle()
            except LineLost:
                again += self._lose(node)
                continue
            if moved:
                self._chart = None
                again += moved
        return again

    def _send(self, commands: list[Command], patience_at: float) -> list[Command]:
        """Send what there is a line for; gives the rest."""
        if self._chart is None:
            return commands
        left: list[Command] = []
        for node, theirs in self._by_node(self._chart, commands).items():
            sender = self._senders.get(node)
            if sender is None:
                left += theirs
                continue
            try:
                sender.send(theirs, patience_at)
            except LineLost:
                left += self._lose(node)
        return left

    def _by_node(self, chart: Chart, commands: list[Command]) -> dict[Node, list[Command]]:
        if len(chart) == 1:
            return {chart[0]: commands}
        found: defaultdict[Node, list[Command]] = defaultdict(list)
        for command in commands:
            found[chart[command.bucket]].append(command)
        return found

    def _lose(self, node: Node) -> Iterable[Command]:
        """Drop a line; gives what nobody knows the fate of. Where its channels are now, has to be asked again."""
        sender = self._senders.pop(node)
        sender.close()
        self._is_stale = True
        return sender.unanswered

    def _connect(self, buckets: Collection[int], patience_at: float) -> None:
        """See that there are lines for these; raises `BrokerUnavailable` if there are none in time."""
        wait_s = 0.0
        if self._attempt is None:
            if time.monotonic() < self._retry_at:
                raise BrokerUnavailable(f"Redis is left alone for a moment, after this: {self._failure}")
            chart = None if self._is_stale else self._chart
            make = partial(_make, self._places, chart, frozenset(buckets), frozenset(self._senders))
            self._attempt = Attempt(make, Made.close)
            wait_s = 0.0 if self._failures else max(0.0, patience_at - time.monotonic())
        if not self._attempt.has_ended(wait_s):
            raise BrokerUnavailable("Redis is still being connected to.")
        attempt, self._attempt = self._attempt, None
        try:
            made = attempt.result()
        except BrokerUnavailable as error:
            self._fail(error)
            raise
        self._take(made)

    def _take(self, made: Made) -> None:
        self._chart, self._is_stale, self._failures = made.chart, False, 0
        self._senders.update({node: Sender(line) for node, line in made.lines.items()})
        for node in self._senders.keys() - set(made.chart):
            self._senders.pop(node).close()

    def _fail(self, error: BrokerUnavailable) -> None:
        first_s, longest_s = RETRY_S
        pause_s = min(longest_s, first_s * 2**self._failures) * (0.5 + random.random() / 2)  # noqa: S311
        self._failures = min(self._failures + 1, 16)
        self._failure, self._retry_at = error, time.monotonic() + pause_s


def _make(places: Places, chart: Chart | None, buckets: Collection[int], present: Collection[Node]) -> Made:
    """The chart, read if there is none, and lines to the servers of these buckets that are not present."""
    made = Made(chart or places.chart(), {})
    try:
        for node in {made.chart[bucket] for bucket in buckets} - set(present):
            made.lines[node] = places.line(node, places.channels.hello_publishing)
    except BrokerUnavailable:
        made.close()
        raise
    return made
