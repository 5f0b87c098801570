"""The other processes of the site: which of them live, what is missing of each, and which process is the leader. Pure.

A process that is not heard for `EXPIRY_S` is gone. This only counts while this process hears its own messages: if the
broker fails, nothing is heard from any process, and all keep what they know.
"""

from collections.abc import Iterator
from typing import Final

from telltale.pusher.server.membership.replica import Replica

HEARTBEAT_S: Final = 3.0
"""Each process sends a message at least this often."""

EXPIRY_S: Final = 10.0
"""A process that is not heard for this long is gone, with all its clients."""

OUTAGE_S: Final = 8.0
"""After so long without its own messages, a process waits for `EXPIRY_S` again before it drops others."""

PATIENCE_S: Final = 0.2
"""Missing changes are asked for after this time: a broker may only have reordered messages."""

ASK_AGAIN_S: Final = 1.0
"""Until missing changes are asked for again, if nothing of them comes."""

REMEMBERED: Final = 1_000
"""Processes that said goodbye, so that a late message of one does not bring it back."""


class Peers:
    """The other processes, as `process` hears them. Times are of this process's monotonic clock."""

    def __init__(self, process: str) -> None:
        self.process = process
        self.rank: int | None = None
        """This process's place in the order of starts: not a time, because clocks of machines differ."""
        self._replicas: dict[str, Replica] = {}
        self._left: dict[str, None] = {}
        self._heard_self_at = float("-inf")
        self._trusted_from = float("-inf")
        """The silence of others counts from this time."""

    def __iter__(self) -> Iterator[Replica]:
        return iter(self._replicas.values())

    def hear(self, process: str, *, rank: int | None, now: float) -> Replica | None:
        """A message of `process` arrived; None if it said goodbye before."""
        if process in self._left:
            return None
        replica = self._replicas.get(process)
        if replica is None:
            replica = self._replicas[process] = Replica(process, now=now)
        replica.heard_at, replica.rank, replica.is_gone = now, rank, False
        return replica

    def hear_self(self, now: float) -> None:
        """A message of this process came back, so the broker works."""
        if now - self._heard_self_at > OUTAGE_S:
            self._trusted_from = now
        self._heard_self_at = now

    def leave(self, process: str) -> None:
        """The process said goodbye."""
        self._left[process] = None
        if len(self._left) > REMEMBERED:
            del self._left[next(iter(self._left))]
        if process in self._replicas:
            self._replicas[process].is_gone = True

    def take_gone(self) -> list[Replica]:
        """Return processes whose entries are to be dropped; those that were silent for too long are added to them."""
        for replica in self:
            silent_from = max(replica.heard_at, self._trusted_from)
            replica.is_gone |= self._heard_self_at - silent_from > EXPIRY_S
        return [replica for replica in self if replica.is_gone]

    def forget(self, replica: Replica) -> None:
        """Nothing of this process is left."""
        del self._replicas[replica.process]

    def take_asks(self, now: float) -> list[Replica]:
        """Return those of which changes are missing, and which are to be asked now."""
        due = [replica for replica in self if replica.is_behind and not replica.is_gone and replica.ask_at <= now]
        for replica in due:
            replica.ask_at = now + ASK_AGAIN_S
        return due

    def due_at(self, now: float) -> float:
        """When `take_gone` or `take_asks` has something to return; infinity if not by time alone."""
        if any(replica.is_gone for replica in self):
            return now
        return min((replica.ask_at for replica in self if replica.is_behind), default=float("inf"))

    def next_rank(self) -> int:
        """The rank after all others."""
        return 1 + max((replica.rank for replica in self if replica.rank is not None), default=-1)

    @property
    def leader(self) -> str | None:
        """The live process that started first; None until a process knows its rank."""
        ranks = [
            (replica.rank, replica.process) for replica in self if replica.rank is not None and not replica.is_gone
        ]
        if self.rank is not None:
            ranks.append((self.rank, self.process))
        return min(ranks)[1] if ranks else None

    def heard_at(self, process: str) -> float | None:
        """When another process was last heard; None if it is not known."""
        replica = self._replicas.get(process)
        return None if replica is None else replica.heard_at
