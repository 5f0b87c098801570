"""The link of one server to the site's other processes, over Telltale's broker: events, membership, commands.

All processes follow `SITE_TOPIC`; it carries membership, commands, and the events that cache channels keep. Each
channel has a topic of its own, which a process follows while it has subscribers: brokers that filter at the source
then send a process only what its clients need.
"""

import asyncio
import hashlib
import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final

from telltale.brokers import broker
from telltale.brokers.base import Message, Reach
from telltale.brokers.delivery import LossCounter
from telltale.pusher.protocol import channel_names
from telltale.pusher.server.link.last_events import LastEvent, LastEvents
from telltale.pusher.server.link.last_events_sync import CacheSync
from telltale.pusher.server.link.links import LinkHost
from telltale.pusher.server.link.site_listener import SiteListener
from telltale.pusher.server.link.site_messages import Kind, Reader, SiteEvent, SiteMessage, Writer
from telltale.pusher.server.link.site_sender import SiteSender
from telltale.pusher.server.membership.entries import MalformedReport
from telltale.pusher.server.membership.membership import Membership

SITE_TOPIC: Final = "telltale:pusher"

TURN_S: Final = 0.05
"""Membership is sent at most this often."""

FORGET_EVERY_S: Final = 5.0

CLOSE_S: Final = 2.0
"""How long `close` waits until the last messages are sent."""

logger = logging.getLogger(__name__)


class SiteLink:
    """Satisfies `Link`. One for each server; made on its event loop."""

    def __init__(self, host: LinkHost, membership: Membership, last_events: LastEvents) -> None:
        self._loop = asyncio.get_running_loop()
        self._host, self._membership, self._last_events = host, membership, last_events
        self._cache_sync = CacheSync(membership.process, last_events, membership)
        self._writer, self._reader = Writer(membership.process), Reader(membership.process)
        self._sender = SiteSender()
        self._skipped = LossCounter("%d messages of other server processes were skipped: they have another form.")
        self._timer: asyncio.TimerHandle | None = None
        self._is_woken = self._is_closed = False
        self._turned_at = self._forget_at = float("-inf")
        _links_here.add(self)
        self._listener = SiteListener(self._receive, self._missed)
        self._listener.follow(process_topic(membership.process), _do_nothing)
        self._listener.follow(SITE_TOPIC, self._start)

    def follow(self, app_id: str, channel: str, then: Callable[[], None]) -> None:
        """See `Link`."""
        topic = channel_topic(app_id, channel)
        if self._is_alone:
            # There is nothing to wait for. The topic is followed for the case that another server starts.
            self._listener.follow(topic, _do_nothing)
            return then()
        self._listener.follow(topic, then)

    def unfollow(self, app_id: str, channel: str) -> None:
        """See `Link`."""
        self._listener.unfollow(channel_topic(app_id, channel))

    def send_event(
        self, app_id: str, channel: str, text: str, socket_id: str | None, kept: LastEvent | None = None
    ) -> None:
        """See `Link`."""
        if self._is_woken and channel_names.is_presence(channel) and self._membership.has_untold:
            # Others hear of a member before they hear its first event.
            self._turn()
        if kept is None:
            topic, counter, ttl_s = channel_topic(app_id, channel), None, None
        else:
            topic, counter, ttl_s = SITE_TOPIC, kept.counter, kept.ttl_s(time.monotonic())
        event = SiteEvent(app_id=app_id, channel=channel, text=text, socket_id=socket_id, counter=counter, ttl_s=ttl_s)
        self._send(topic, Kind.EVENT, [event.to_text()])

    def send_terminate(self, app_id: str, user_id: str) -> None:
        """See `Link`."""
        self._send(SITE_TOPIC, Kind.TERMINATE, [f"{app_id} {user_id}"])

    def send_fallback(self, process: str | None, text: str) -> None:
        """See `Link`."""
        self._send(SITE_TOPIC if process is None else process_topic(process), Kind.FALLBACK, [text])

    async def close(self) -> None:
        """See `Link`."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._send(SITE_TOPIC, Kind.MEMBERSHIP, [self._membership.goodbye()])
        _links_here.remove(self)
        await asyncio.gather(asyncio.to_thread(self._sender.close, CLOSE_S), asyncio.to_thread(self._listener.close))

    @property
    def is_over(self) -> bool:
        """Whether the event loop has ended."""
        return self._loop.is_closed()

    @property
    def _is_alone(self) -> bool:
        return not _reaches(_links_here.others(self))

    # Sending -------------------------------------------------------------------------------------

    def _send(self, topic: str, kind: Kind, contents: Iterable[str]) -> None:
        if self._is_alone:
            return
        self._sender.send(
            Message((topic,), body) for content in contents for body in self._writer.bodies(kind, content)
        )

    def _start(self) -> None:
        """Messages of other processes are received: greet them."""
        if not self._is_closed:
            self._membership.wake = self._wake
            self._turn()

    def _wake(self) -> None:
        """A client of this process came or left: take a turn soon."""
        if not self._is_woken and not self._is_closed:
            self._is_woken = True
            self._schedule(time.monotonic())

    def _schedule(self, now: float) -> None:
        """Take the next turn when something is due."""
        if self._timer is not None:
            self._timer.cancel()
        if self._is_closed:
            return
        due_at = min(self._membership.due_at(now), self._cache_sync.due_at)
        self._timer = self._loop.call_later(max(due_at, self._turned_at + TURN_S) - now, self._turn)

    def _turn(self) -> None:
        """Send what is due, drop silent processes, and schedule the next turn."""
        self._is_woken = False
        self._turned_at = now = time.monotonic()
        try:
            self._host.receive_changes(self._membership.expire(now))
            self._send(SITE_TOPIC, Kind.MEMBERSHIP, self._membership.take_messages(now))
            self._send(SITE_TOPIC, Kind.CACHE, self._cache_sync.take_messages(now))
            if now >= self._forget_at:
                self._forget_at = now + FORGET_EVERY_S
                self._listener.forget_idle(now)
        except Exception:
            logger.exception("A turn of the link to other server processes failed; it goes on.")
        self._schedule(now)

    # Receiving -----------------------------------------------------------------------------------

    def _receive(self, bodies: Sequence[bytes]) -> None:
        now = time.monotonic()
        skipped = 0
        for body in bodies:
            try:
                message = self._reader.read(body)
                if message is not None:
                    self._handle(message, now)
            except MalformedReport:
                skipped += 1
            except Exception:
                logger.exception("A message of another server process failed; the next one follows.")
        if skipped:
            self._skipped.add(skipped, now=now)
        self._schedule(now)

    def _handle(self, message: SiteMessage, now: float) -> None:
        if message.kind is Kind.MEMBERSHIP:
            # Also this process's own: they show that the broker works.
            self._host.receive_changes(self._membership.receive(message.content, now))
        elif message.kind is Kind.CACHE:
            self._cache_sync.receive(message.content, now)
        elif message.kind is Kind.EVENT:
            self._handle_event(SiteEvent.from_text(message.content), message.process, now)
        elif message.kind is Kind.FALLBACK:
            self._host.receive_fallback(message.process, message.content)
        else:
            app_id, _, user_id = message.content.partition(" ")
            self._host.receive_terminate(app_id, user_id)

    def _handle_event(self, event: SiteEvent, process: str, now: float) -> None:
        if event.counter is not None and event.ttl_s is not None:
            kept = LastEvent(
                text=event.text, counter=event.counter, origin=process, kept_at=now, expires_at=now + event.ttl_s
            )
            self._last_events.receive(event.app_id, event.channel, kept, now=now)
        self._host.receive_event(event.app_id, event.channel, event.text, event.socket_id)

    def _missed(self, topics: Collection[str] | None) -> None:
        if topics is None or SITE_TOPIC in topics:
            self._cache_sync.missed(time.monotonic())
            self._membership.missed()
            self._schedule(time.monotonic())


def _do_nothing() -> None:
    """For `follow`, where nothing waits."""


class _LinksHere:
    """The links of this process: one for each event loop with a server."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._links: set[SiteLink] = set()

    def add(self, link: SiteLink) -> None:
        with self._lock:
            self._links = {link, *(other for other in self._links if not other.is_over)}

    def remove(self, link: SiteLink) -> None:
        with self._lock:
            self._links = self._links - {link}

    def others(self, link: SiteLink | None) -> int:
        """The number of other links."""
        return len(self._links - {link})


_links_here = _LinksHere()


def is_alone() -> bool:
    """Whether a new server reaches no other one. Raises `ImproperlyConfigured` if the setting names no broker."""
    return not _reaches(_links_here.others(None))


def _reaches(others_here: int) -> bool:
    reach = broker().reach
    return bool(others_here) if reach is Reach.PROCESS else reach is not Reach.NOWHERE


def process_topic(process: str) -> str:
    """Return the topic of what is meant for one process."""
    return f"{SITE_TOPIC}-process-{process}"


def channel_topic(app_id: str, channel: str) -> str:
    """Return the topic of a channel's events. A digest, because names of channels have other characters."""
    digest = hashlib.blake2b(f"{app_id} {channel}".encode("utf-8", "surrogatepass"), digest_size=16)
    return f"{SITE_TOPIC}-{digest.hexdigest()}"
