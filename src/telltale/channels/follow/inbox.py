"""What waits for one consumer: of each task only the newest snapshot, and notices and events in their order.

The event loop puts items in, and the consumer takes them out, a sync consumer in a thread of its own. So a slow
consumer finds the newest when it comes back, and never a queue of what is old. No I/O, no clock.
"""

import copy
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple, TypeVar

from telltale import native
from telltale.core.snapshot import Order, Snapshot, supersedes
from telltale.core.wire import Event, Notice

logger = logging.getLogger(__name__)

FULL: Final = 100
"""Items that may wait before nothing more is accepted; the last frame before that may bring some more."""

MAX_REMEMBERED: Final = 1_000
"""Tasks of which the last delivered order is remembered."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Frame:
    """The content of one message for clients; the consumers that it goes to share it."""

    snapshots: tuple[Snapshot, ...] = ()
    notices: tuple[Notice, ...] = ()
    events: tuple[Event, ...] = ()
    corrected: frozenset[str] = frozenset()
    """Tasks whose snapshots in this frame replace any other."""


def frame_of(text: str) -> Frame:
    """Decode a message for clients; a greeting or a ping is an empty frame. Never raises.

    What is malformed is logged and left out: one bad message must not stop the delivery to all others.
    """
    try:
        message = json.loads(text)
    except ValueError as error:
        logger.warning("A message for consumers was skipped, because it is not JSON: %s", error)
        return Frame()
    if message.get("type") != "update":
        return Frame()
    return Frame(
        snapshots=tuple(_decoded(message["tasks"], Snapshot.from_json)),
        notices=tuple(_decoded(message["notices"], Notice.from_json)),
        events=tuple(_decoded(message["events"], Event.from_json)),
        corrected=frozenset(message.get("corrected", ())),
    )


def _decoded(items: Iterable[Mapping[str, Any]], decode: Callable[[Mapping[str, Any]], T]) -> Iterator[T]:
    for data in items:
        try:
            yield decode(data)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            logger.warning("An item for consumers was skipped, because its form is unknown: %r", error)


class Unfollowed(NamedTuple):
    """The consumer no longer follows a topic, for a reason of its follower."""

    topic: str
    reason: str


Item = Snapshot | Notice | Event | Unfollowed


class Inbox:
    """See the module. Thread-safe."""

    def __init__(self) -> None:
        self._lock = native.lock()
        self._waiting: dict[object, Item] = {}  # In order. Snapshots by task, so that a newer one takes the place.
        self._delivered: dict[str, Order] = {}  # By task, the oldest first.

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def is_full(self) -> bool:
        """Whether nothing more should come before something is taken."""
        return len(self._waiting) >= FULL

    def put(self, frame: Frame) -> None:
        """Keep what the frame brings; of each task the newest snapshot."""
        with self._lock:
            for snapshot in frame.snapshots:
                waiting = self._waiting.get(snapshot.id)
                known = waiting.order if isinstance(waiting, Snapshot) else self._delivered.get(snapshot.id)
                if snapshot.id in frame.corrected or supersedes(snapshot.order, known):
                    self._waiting[snapshot.id] = snapshot
            self._waiting.update((object(), notice) for notice in frame.notices)
            self._waiting.update((object(), event) for event in frame.events)

    def put_unfollowed(self, topics: Iterable[str], reason: str) -> None:
        """Keep that the consumer no longer follows these topics."""
        with self._lock:
            for topic in topics:
                self._waiting[object()] = Unfollowed(topic, reason)

    def take(self) -> Item | None:
        """Remove and return the first item; None if nothing waits."""
        with self._lock:
            if not self._waiting:
                return None
            item = self._waiting.pop(next(iter(self._waiting)))
            if isinstance(item, Snapshot):
                self._remember(item)
        if isinstance(item, Event):
            # Its receiver may change the data, and the frame is shared with other consumers.
            return replace(item, data=copy.deepcopy(item.data))
        return item

    def drop(self, is_followed: Callable[[str], bool]) -> dict[str, Order]:
        """Drop what may not be delivered any more; return the orders of the dropped snapshots, by task.

        A snapshot does not say through which topics it came, so all snapshots are dropped: the caller has those of
        the remaining topics read again.
        """
        with self._lock:
            dropped = {item.id: item.order for item in self._waiting.values() if isinstance(item, Snapshot)}
            self._waiting = {
                key: item
                for key, item in self._waiting.items()
                if isinstance(item, Unfollowed) or (isinstance(item, Notice | Event) and is_followed(item.topic))
            }
        return dropped

    def delivered(self) -> dict[str, Order]:
        """Return the order of the newest delivered snapshot, by task."""
        with self._lock:
            return dict(self._delivered)

    def _remember(self, snapshot: Snapshot) -> None:
        self._delivered.pop(snapshot.id, None)
        self._delivered[snapshot.id] = snapshot.order
        if len(self._delivered) > MAX_REMEMBERED:
            del self._delivered[next(iter(self._delivered))]
