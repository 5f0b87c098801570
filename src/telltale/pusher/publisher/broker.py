"""The broker over a Pusher service, the hosted one or a compatible server: `pusher://key:secret@cluster/app_id`.

Reach: nowhere. The service delivers to browsers and not to processes, so web processes read the store as with
`none://`, and workers learn cancellations from it. `?and=URL` adds a second broker for processes, and its reach.
Cost: a thread for each process that publishes; one request for up to 10 events, of which progress is limited to
`TELLTALE["PUSHER_EVENTS_PER_S"]`. Limits: an event has at most 10 kB.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import SplitResult

from django.core.exceptions import ImproperlyConfigured

from telltale import brokers, conf, native
from telltale.brokers.base import Broker, Deliver, EventLoopBroker, Listener, Message, Missed
from telltale.brokers.delivery import without_oversized
from telltale.core.topics import RIGHTS, InvalidTopic
from telltale.core.wire import Envelope, Kind, Malformed
from telltale.native import call_after_fork
from telltale.pusher.publisher.address import PusherAddress, parse
from telltale.pusher.publisher.channels import channel_of
from telltale.pusher.publisher.events import UPDATE_BYTES, UnsendableEvent, own_event, update_size
from telltale.pusher.publisher.exclusion import excluded

if TYPE_CHECKING:
    from telltale.pusher.publisher.sender import Sender

logger = logging.getLogger("telltale.brokers")


class PusherBroker:
    """Passes messages to its sender, which exists from the first use to `close`, and to a second broker."""

    def __init__(self, address: PusherAddress, second: Broker) -> None:
        """`second`: the broker between processes; `none://` if there is none."""
        self.address = address
        self.reach = second.reach
        self._second = second
        self._lock = native.lock()
        self._sender: Sender | None = None
        call_after_fork(self)

    def publish(self, messages: Sequence[Message]) -> None:
        """Queue the messages; raises `BrokerUnavailable` if the second broker does."""
        for message in without_oversized(messages):
            self._send(message)
        self._second.publish(messages)

    def listen(self, deliver: Deliver, missed: Missed) -> Listener:
        """Listen to the second broker; without one, nothing is ever received."""
        return self._second.listen(deliver, missed)

    def channels(self, topics: Iterable[str]) -> Mapping[str, str] | None:
        """Return each topic by the name of its channel; None if one of them is too long to have one."""
        types = conf.settings().pusher_channels
        try:
            return {channel_of(topic, types): topic for topic in topics}
        except InvalidTopic:
            return None

    def close(self) -> None:
        """Close the second broker, and send ends, notices and events, within 5 s. It may be used again afterwards."""
        with self._lock:
            sender, self._sender = self._sender, None
        if sender is not None:
            sender.close()
        self._second.close()

    def after_fork(self) -> None:
        """Drop the parent's sender, with its queue, and the lock."""
        self._lock, self._sender = native.lock(), None

    def _send(self, message: Message) -> None:
        try:
            envelope = Envelope.from_bytes(message.body)
        except Malformed:
            return  # Another program's message, or one of the stand-in server, for processes.
        if envelope.kind is Kind.CANCEL or RIGHTS in envelope.topics or _has_no_followers(envelope):
            return
        for topic in envelope.topics:
            try:
                self._send_to(channel_of(topic, conf.settings().pusher_channels), envelope)
            except (InvalidTopic, Malformed, UnsendableEvent) as error:
                logger.error("A message was not sent to the Pusher service: %s", error)

    def _send_to(self, channel: str, envelope: Envelope) -> None:
        if envelope.kind is not Kind.EVENT:
            _require_room(envelope)
            self._present_sender().add_update(channel, envelope)
        elif envelope.event is not None:
            self._present_sender().add_event(own_event(channel, envelope.event, excluded()))

    def _present_sender(self) -> "Sender":
        present = self._sender
        if present is not None:
            return present
        # Imported here: the views need the address, and the library may be missing.
        from telltale.pusher.publisher.sender import Sender
        from telltale.pusher.publisher.service import PusherService

        settings, address = conf.settings(), self.address
        with self._lock:
            if self._sender is None:
                self._sender = Sender(
                    lambda: PusherService(address, settings.pusher_master_key), settings.pusher_events_per_s
                )
            return self._sender


class PusherLoopBroker(PusherBroker):
    """One whose second broker can listen on an event loop."""

    def listen_on(self, loop: asyncio.AbstractEventLoop, deliver: Deliver, missed: Missed) -> Listener:
        """As `listen`, on the event loop."""
        assert isinstance(self._second, EventLoopBroker)  # noqa: S101 (so it was chosen in `build`)
        return self._second.listen_on(loop, deliver, missed)


def _has_no_followers(envelope: Envelope) -> bool:
    """Whether it is about a task without an owner: without the hook `CAN_FOLLOW`, only owners may follow tasks.

    Such as the members of a group, and the tasks of a schedule: they can be many, and each event is billed.
    """
    return envelope.kind is Kind.SNAPSHOT and len(envelope.topics) == 1 and conf.settings().can_follow is None


def _require_room(envelope: Envelope) -> None:
    size = update_size(envelope)
    if size > UPDATE_BYTES:
        raise UnsendableEvent(
            f"A {envelope.kind} has {size:,} bytes, and at most {UPDATE_BYTES:,} are allowed: make its texts shorter. "
            "Pages that are open show it when they read it from the site."
        )


def build(url: SplitResult) -> PusherBroker:
    """For `pusher://key:secret@cluster/app_id` and `pusher://key:secret@host:port/app_id`."""
    address = parse(url)
    try:
        # Now, and not at the first message: a child that is forked meanwhile would have half a module.
        import telltale.pusher.publisher.service  # noqa: F401
    except ImportError as error:
        raise ImproperlyConfigured(
            "TELLTALE['BROKER'] is pusher://…, which needs the library of the service: "
            f"pip install 'django-telltale[pusher]'. ({error})"
        ) from error
    second = brokers.build_signed(address.second_broker or "none://")
    return (PusherLoopBroker if isinstance(second, EventLoopBroker) else PusherBroker)(address, second)
