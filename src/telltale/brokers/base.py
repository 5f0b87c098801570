"""The contract of brokers: couriers that are quicker than the database, and never more than couriers.

A broker may lose, repeat and reorder. It promises no delivery; the store is the truth, and every web
process re-reads what it watches at the pace that follows from the broker's reach. To write one, satisfy
`Broker` and pass `telltale.testing.brokers.BrokerContract`.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from enum import Enum
from typing import NamedTuple, Protocol, runtime_checkable


class Reach(Enum):
    """How far a broker carries; decides how often web processes re-read what they watch."""

    NOWHERE = "nowhere"
    PROCESS = "this process"
    MACHINE = "this machine"
    SITE = "the whole site"


class BrokerUnavailable(Exception):
    """What was to be carried could not be handed over. The reporter logs an outage once and goes on."""


class Message(NamedTuple):
    """One envelope on its way."""

    topics: tuple[str, ...]
    """Whose followers it is for; at least one."""
    body: bytes
    """The whole envelope, at most 16 KiB; a broker need not understand it."""


Deliver = Callable[[Sequence[bytes]], None]
"""Takes in the bodies that arrived."""

Missed = Callable[[Collection[str] | None], None]
"""Told that something of these topics may have been lost (None: of any): the caller re-reads them."""


class Listener(Protocol):
    """A running subscription."""

    def close(self) -> None:
        """Stop; blocks until no call of `deliver` is under way. Harmless when repeated."""


@runtime_checkable
class Selective(Listener, Protocol):
    """A listener that hears only what it is asked to: nothing at first. For brokers that filter at the source."""

    def follow(self, topics: Collection[str]) -> None:
        """Hear these topics too. Blocks until they are heard, but for a second at most; any thread.

        Where that is not enough, or the line is cut later, `missed` is called with the topics once they
        are heard. So who calls this before reading the store misses nothing.
        """

    def forget(self, topics: Collection[str]) -> None:
        """Hear these no more, sooner or later; returns at once."""


class Broker(Protocol):
    """One a process. All methods may be called from any thread, also after a fork.

    Not promised: delivery, order, that a message comes once.
    """

    reach: Reach

    def publish(self, messages: Sequence[Message]) -> None:
        """Hand over messages, to every listener within reach (that follows one of their topics, if it selects).

        Never blocks for longer than a few milliseconds; a slow or dead listener is skipped, and costs
        the others nothing. Raises `BrokerUnavailable` if the courier itself is out of order.
        """

    def listen(self, deliver: Deliver, missed: Missed) -> Listener:
        """Call `deliver` with what arrives, from a thread of the broker's own, until closed.

        `missed` is called whenever something may have been lost (overflow, reconnect): the caller re-reads.
        A listener that is `Selective` hears nothing until it follows. Exceptions of both are logged and
        survive. Raises `BrokerUnavailable` if it can't begin.
        """

    def close(self) -> None:
        """Let go of everything; harmless when repeated."""


@runtime_checkable
class OnLoop(Protocol):
    """A broker that an event loop can hear by itself: no thread, and no hand-over from one."""

    def listen_on(self, loop: asyncio.AbstractEventLoop, deliver: Deliver, missed: Missed) -> Listener:
        """As `listen`, but `deliver` and `missed` are called on the loop.

        Called from another thread, while the loop runs, and so is all of the listener; both may block there.
        """
