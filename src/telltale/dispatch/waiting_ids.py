"""Which tasks wait in a queue that can only be read message by message, such as a list in Redis.

A search is bounded, however long the queue is. It is reused for `REUSED_FOR_S`, because a look of the poller asks about
up to 50 tasks. Beyond the bounds the answer is "unknown".
"""

import time
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Final, TypeVar

M = TypeVar("M", bytes, str)

MAX_MESSAGES: Final = 1_000
"""How many messages a search reads at most."""

MAX_BYTES: Final = 4 * 2**20
"""After so many bytes of messages a search stops: arguments may be large."""

READ_TOGETHER: Final = 50
"""How many messages one command of a search should read."""

REUSED_FOR_S: Final = 1.0
"""How long a search is reused: less than the time that a task waits before its runner is asked about it."""


@dataclass(frozen=True, kw_only=True)
class WaitingIds:
    """The runner's ids of the tasks that a search found."""

    ids: frozenset[str] = frozenset()
    taken_ids: frozenset[str] = frozenset()
    """Those that a worker has taken, of which it is unknown whether it is alive."""
    is_complete: bool
    """Whether all messages were read."""

    def has(self, runner_id: str) -> bool | None:
        """Whether the task waits; None if unknown."""
        if runner_id in self.ids:
            return True
        return False if self.is_complete and runner_id not in self.taken_ids else None


_recent: dict[Hashable, tuple[float, WaitingIds]] = {}
"""By queue: when its last search began, by the monotonic clock, and its result."""


def waiting_ids(queue: Hashable, search: Callable[[], WaitingIds]) -> WaitingIds:
    """Return the result of `search`, or of the last search of this `queue` if it began at most `REUSED_FOR_S` ago."""
    began_at, found = _recent.get(queue, (float("-inf"), None))
    now = time.monotonic()
    if found is None or now - began_at > REUSED_FOR_S:
        found = search()
        _recent[queue] = (now, found)
    return found


def read_ids(messages: Iterable[M], id_of: Callable[[M], str | None]) -> WaitingIds:
    """Return the ids of these messages; `id_of` returns None for a message that is no task's.

    It stops at the bounds. A message that can't be read may be of any task, so the result is not complete.
    """
    ids: set[str] = set()
    size, is_complete = 0, True
    for count, message in enumerate(messages):
        size += len(message)
        if count >= MAX_MESSAGES or size > MAX_BYTES:
            return WaitingIds(ids=frozenset(ids), is_complete=False)
        try:
            runner_id = id_of(message)
        except Exception:
            # Such as a pickle of classes that this process does not have.
            is_complete = False
        else:
            ids |= {runner_id} if runner_id is not None else set()
    return WaitingIds(ids=frozenset(ids), is_complete=is_complete)
