"""The contract of brokers: they carry updates between processes, faster than the database does.

A broker may lose, repeat and reorder messages. It promises no delivery: the store is the truth, and every web
process re-reads what its clients follow, at an interval that depends on the broker's reach. To write a broker,
satisfy `Broker` and pass a contract suite of `telltale.testing.brokers`.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from enum import Enum
from typing import NamedTuple, Protocol, runtime_checkable


class Reach(Enum):
    """Which processes receive a message; decides how often web processes re-read the store."""

    NOWHERE = "nowhere"
    PROCESS = "this process"
    MACHINE = "this machine"
    SITE = "the whole site"


class BrokerUnavailable(Exception):
    """The broker can't publish or listen now. The reporter logs an outage once and goes on."""


class Message(NamedTuple):
    """One envelope to publish."""

    topics: tuple[str, ...]
    """Followers of these topics receive the message; at least one topic."""
    body: bytes
    """The serialised envelope, at most 16 KiB; a broker need not understand it."""


Deliver = Callable[[Sequence[bytes]], None]
"""Called with the bodies of received messages."""

Missed = Callable[[Collection[str] | None], None]
"""Called with the topics of messages that may be lost (None: of any topic); the callee re-reads these topics."""


class Listener(Protocol):
    """A running subscription."""

    def close(self) -> None:
        """Stop; blocks until a running call of `deliver` has returned. Harmless when repeated."""


@runtime_checkable
class SelectiveListener(Listener, Protocol):
    """A listener that receives only the topics it follows; none at first. For brokers that filter at the source."""

    def follow(self, topics: Collection[str]) -> None:
        """Receive these topics too. Blocks until they are subscribed, for at most a second; any thread.

        If subscribing takes longer, or the connection breaks later, `missed` is called with the topics once they
        are subscribed. Call this before reading the store, and no update is missed.
        """

    def forget(self, topics: Collection[str]) -> None:
        """Stop receiving these topics, soon; returns at once."""


@runtime_checkable
class MonitoredListener(Listener, Protocol):
    """A listener that knows whether messages reach it at present. Others count as connected until they are closed."""

    @property
    def is_connected(self) -> bool:
        """Whether messages reach it, as far as it knows; any thread."""


class Broker(Protocol):
    """One for each process. All methods may be called from any thread, also after a fork.

    Not promised: delivery, order, and that a message arrives only once.
    """

    reach: Reach

    def publish(self, messages: Sequence[Message]) -> None:
        """Send messages to every listener within reach; selective listeners receive only topics they follow.

        Blocks for a few milliseconds at most, or once for half a second when an outage begins. A slow or dead
        listener is skipped and does not delay the others. Raises `BrokerUnavailable` if the broker can't send.
        """

    def listen(self, deliver: Deliver, missed: Missed) -> Listener:
        """Call `deliver` with received messages, from a thread of the broker, until the listener is closed.

        `missed` is called whenever messages may be lost (overflow, reconnect): the callee re-reads the store.
        A `SelectiveListener` receives nothing until it follows a topic. Exceptions of both callables are logged,
        and the listener goes on. Raises `BrokerUnavailable` if it can't start.
        """

    def close(self) -> None:
        """Close all listeners and connections; harmless when repeated."""


@runtime_checkable
class ChannelBroker(Protocol):
    """A broker whose messages a service delivers to browsers, on channels."""

    def channels(self, topics: Iterable[str]) -> Mapping[str, str] | None:
        """Return each topic by the name of its channel; None if one of them has no channel."""


@runtime_checkable
class EventLoopBroker(Protocol):
    """A broker whose listener can run on an event loop: no thread, and no hand-over between threads."""

    def listen_on(self, loop: asyncio.AbstractEventLoop, deliver: Deliver, missed: Missed) -> Listener:
        """As `Broker.listen`, but `deliver` and `missed` are called on `loop`.

        Call this and the listener's methods from another thread while the loop runs; they may block there.
        """
