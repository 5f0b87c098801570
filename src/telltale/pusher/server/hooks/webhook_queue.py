"""The events that wait for one webhook target, in order and bounded. No I/O; the time is an argument."""

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from telltale.pusher.server.hooks.events import HookEvent

BATCH_EVENTS: Final = 20
BATCH_S: Final = 0.25
"""A batch is made when it is full, or so long after its first event."""

QUEUE_EVENTS: Final = 50_000
QUEUE_BYTES: Final = 32 * 2**20
"""A queue that exceeds either limit drops its oldest events."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Events of one request. `queued_at`: when the last of them was queued."""

    queued_at: float
    events: tuple[HookEvent, ...]

    def body(self, time_ms: int) -> str:
        """Return the request's body, in ASCII. `time_ms`: the wall clock's milliseconds since 1970."""
        texts = ",".join([event.webhook_text() for event in self.events])
        return f'{{"time_ms":{time_ms},"events":[{texts}]}}'


class WebhookQueue:
    """Not thread-safe: its owner holds a lock."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[float, HookEvent]] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, events: Iterable[HookEvent], now: float) -> int:
        """Queue the events; return how many were dropped, the oldest first."""
        for event in events:
            self._waiting.append((now, event))
            self._bytes += event.size
        dropped = 0
        while len(self._waiting) > QUEUE_EVENTS or self._bytes > QUEUE_BYTES:
            self._pop()
            dropped += 1
        return dropped

    def drop_older(self, than: float) -> int:
        """Drop the events that were queued before the time `than`; return their number."""
        dropped = 0
        while self._waiting and self._waiting[0][0] < than:
            self._pop()
            dropped += 1
        return dropped

    @property
    def ready_at(self) -> float:
        """When the next batch can be made: `-inf` if it is full, `inf` if there are no events."""
        if len(self._waiting) >= BATCH_EVENTS:
            return -math.inf
        return self._waiting[0][0] + BATCH_S if self._waiting else math.inf

    def take(self) -> Batch:
        """Return the next batch, which must not be empty."""
        taken = [self._pop() for _ in range(min(BATCH_EVENTS, len(self._waiting)))]
        return Batch(queued_at=taken[-1][0], events=tuple([event for _queued_at, event in taken]))

    def _pop(self) -> tuple[float, HookEvent]:
        queued_at, event = self._waiting.popleft()
        self._bytes -= event.size
        return queued_at, event
