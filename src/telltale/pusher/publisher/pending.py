"""The queue of messages for a Pusher service: bounded, whatever the pace of the tasks. No I/O, no lock, no clock.

Of each task only the newest snapshot waits, for each channel. Ends, notices and events are urgent: they go before
progress, in their order. One event carries everything that waits for its channel and fits: events are billed.
"""

from typing import Final

from telltale.core.snapshot import supersedes
from telltale.core.wire import Envelope, Kind
from telltale.pusher.publisher.events import UPDATE_BYTES, PusherEvent, update_event, update_size

MAX_WAITING: Final = 2_000
"""Snapshots, notices and events that wait: at most 16 MB, usually one."""

BATCH_EVENTS: Final = 10
"""The most events in one request, by the protocol."""

Key = tuple[str, str]
"""A channel, and the id of a task or notice, or the number of an event."""


class Pending:
    """The queue of one process."""

    def __init__(self, *, max_waiting: int = MAX_WAITING, update_bytes: int = UPDATE_BYTES) -> None:
        self._max_waiting, self._update_bytes = max_waiting, update_bytes
        self._updates: dict[str, dict[str, Envelope]] = {}
        """By channel, then by id: snapshots and notices."""
        # The order in which to send. A newer snapshot takes the place of the older.
        self._urgent: dict[Key, PusherEvent | None] = {}
        """The events themselves; None for ends and notices, which are in `_updates`."""
        self._progress: dict[Key, None] = {}
        self._event_count = 0

    def __len__(self) -> int:
        return len(self._urgent) + len(self._progress)

    @property
    def urgent_count(self) -> int:
        """How many ends, notices and events wait."""
        return len(self._urgent)

    def add_event(self, event: PusherEvent) -> int:
        """Queue a site's own event; return how many others were dropped for it."""
        self._event_count += 1
        self._urgent[event.channel, str(self._event_count)] = event
        return self._drop_oldest()

    def add_update(self, channel: str, envelope: Envelope) -> int:
        """Queue a snapshot or notice, unless a newer one waits; return how many others were dropped for it."""
        key = (channel, envelope.about)
        waiting = self._updates.setdefault(channel, {})
        present = waiting.get(envelope.about)
        if present is not None and not supersedes(envelope.order, present.order):
            return 0
        waiting[envelope.about] = envelope
        _attempt, has_ended, _seq = envelope.order
        if has_ended or envelope.kind is Kind.NOTICE:
            self._progress.pop(key, None)
            self._urgent[key] = None
        else:
            self._urgent.pop(key, None)  # The end of an earlier attempt.
            self._progress[key] = None
        return self._drop_oldest()

    def take(self, *, progress: int, now: float) -> list[PusherEvent]:
        """Remove and return the next events for one request, at most `progress` of them with progress alone.

        `now`: seconds since 1970.
        """
        events: list[PusherEvent] = []
        while self._urgent and len(events) < BATCH_EVENTS:
            events.append(self._take_urgent(now))
        while self._progress and len(events) < BATCH_EVENTS and progress > 0:
            events.append(self._take_update(next(iter(self._progress))[0], now))
            progress -= 1
        return events

    def _take_urgent(self, now: float) -> PusherEvent:
        key, event = next(iter(self._urgent.items()))
        if event is None:
            return self._take_update(key[0], now)
        del self._urgent[key]
        return event

    def _take_update(self, channel: str, now: float) -> PusherEvent:
        """Take everything that waits for a channel and fits into one event, the urgent first; at least one."""
        waiting = self._updates[channel]
        ids = sorted(waiting, key=lambda about: (channel, about) not in self._urgent)
        taken: list[Envelope] = []
        room = self._update_bytes
        for about in ids:
            room -= update_size(waiting[about])
            if taken and room < 0:
                break
            taken.append(waiting[about])
            self._remove((channel, about))
        return update_event(channel, taken, now=now)

    def _remove(self, key: Key) -> None:
        self._progress.pop(key, None)
        if self._urgent.pop(key, None) is not None:
            return
        channel, about = key
        del self._updates[channel][about]
        if not self._updates[channel]:
            del self._updates[channel]

    def _drop_oldest(self) -> int:
        dropped = 0
        while len(self) > self._max_waiting:
            self._remove(next(iter(self._progress or self._urgent)))
            dropped += 1
        return dropped
