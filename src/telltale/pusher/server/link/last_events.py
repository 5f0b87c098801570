"""The last event of each cache channel, for clients that subscribe later. Pure; the time is an argument.

Every process keeps the last events of the whole site. If two processes publish to one channel at the same moment, the
greater stamp decides, so all processes keep the same event.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

MAX_EVENTS: Final = 10_000
"""The most events of one app that are kept; the oldest are dropped first."""

MAX_CHARACTERS: Final = 16_777_216
"""The most characters of one app's events that are kept together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LastEvent:
    """The last event of one channel."""

    text: str
    """The finished message for clients."""
    counter: int
    origin: str
    """The process that received the event from the HTTP API. Of two events, the one with the greater counter is
    later; if they are equal, the one with the greater origin."""
    kept_at: float
    """When this process got it."""
    expires_at: float

    def ttl_s(self, now: float) -> float:
        """How much longer the event is kept, in seconds."""
        return self.expires_at - now


class LastEvents:
    """The last events of all apps, as the process `process` knows them."""

    def __init__(self, process: str) -> None:
        self._process = process
        self._counter = 0
        self._apps: dict[str, _AppCache] = {}

    def keep(self, app_id: str, channel: str, text: str, *, cache_s: float, now: float) -> LastEvent:
        """Keep an event that was published in this process, for `cache_s` seconds."""
        event = LastEvent(
            text=text, counter=self._counter + 1, origin=self._process, kept_at=now, expires_at=now + cache_s
        )
        self.receive(app_id, channel, event, now=now)
        return event

    def receive(self, app_id: str, channel: str, event: LastEvent, *, now: float) -> None:
        """Keep an event that any process published, unless a later one is known."""
        self._counter = max(self._counter, event.counter)
        app = self._apps.setdefault(app_id, _AppCache())
        known = app.events.get(channel)
        if known is None or (known.counter, known.origin) < (event.counter, event.origin):
            app.put(channel, event, now)

    def find(self, app_id: str, channel: str, now: float) -> LastEvent | None:
        """Return the channel's last event; None if there is none, or it is too old."""
        app = self._apps.get(app_id)
        event = app.events.get(channel) if app is not None else None
        return event if event is not None and event.expires_at > now else None

    def __iter__(self) -> Iterator[tuple[str, str, LastEvent]]:
        """All events, the oldest of each app first, with app and channel."""
        for app_id, app in list(self._apps.items()):
            for channel, event in list(app.events.items()):
                yield app_id, channel, event


class _AppCache:
    """One app's events, the oldest first."""

    def __init__(self) -> None:
        self.events: dict[str, LastEvent] = {}
        self._characters = 0

    def put(self, channel: str, event: LastEvent, now: float) -> None:
        self._drop(channel)
        self.events[channel] = event
        self._characters += len(channel) + len(event.text)
        while (oldest := next(iter(self.events))) != channel and (
            self._is_full or self.events[oldest].expires_at <= now
        ):
            self._drop(oldest)

    @property
    def _is_full(self) -> bool:
        return len(self.events) > MAX_EVENTS or self._characters > MAX_CHARACTERS

    def _drop(self, channel: str) -> None:
        event = self.events.pop(channel, None)
        if event is not None:
            self._characters -= len(channel) + len(event.text)
