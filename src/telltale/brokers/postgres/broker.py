"""The broker for sites that have PostgreSQL and want no other service: LISTEN and NOTIFY.

Reach: the whole site, all processes that connect to one database. Cost: a connection and a thread for each
process; at most 20 small transactions a second, which wait for no disk. Limits: every process receives every
message, so use it for up to some 50 processes; a message may be 50 ms late; if a process publishes more than some
1,600 snapshots a second, followers read the store instead.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult

from django.core.exceptions import ImproperlyConfigured

from telltale import native
from telltale.brokers.base import Deliver, Listener, Message, Missed, Reach
from telltale.brokers.delivery import Callbacks, without_oversized
from telltale.brokers.postgres.listener import PostgresListener
from telltale.native import call_after_fork

if TYPE_CHECKING:
    from telltale.brokers.postgres.address import PostgresAddress
    from telltale.brokers.postgres.notification_thread import NotificationThread

LISTEN_TIMEOUT_S: Final = 1.0
"""How long `listen` waits for its subscription; a server nearby needs 20 ms."""


class PostgresBroker:
    """Passes messages to its notification thread, which exists from the first use to `close`."""

    reach = Reach.SITE

    def __init__(self, address: "PostgresAddress") -> None:
        self.address = address
        self._lock = native.lock()
        self._notifications: NotificationThread | None = None
        call_after_fork(self)

    def publish(self, messages: Sequence[Message]) -> None:
        """Queue the messages, which are sent within 50 ms. Raises `BrokerUnavailable` while sending fails."""
        kept = without_oversized(messages)
        if kept:
            self._notification_thread().send(kept)

    def listen(self, deliver: Deliver, missed: Missed) -> Listener:
        """Deliver all later messages; while the server is away, call `missed` every 2 s."""
        notifications = self._notification_thread()
        callbacks = Callbacks(deliver, missed)
        listener = PostgresListener(callbacks, notifications.listeners.remove, lambda: notifications.is_listening)
        notifications.add_listener(listener, timeout_s=LISTEN_TIMEOUT_S)
        return listener

    def close(self) -> None:
        """Close the listeners and send queued messages, within a second. The broker may be used again afterwards."""
        with self._lock:
            notifications, self._notifications = self._notifications, None
        if notifications is not None:
            notifications.close()

    def after_fork(self) -> None:
        """Drop the parent's notification thread and lock."""
        self._lock, self._notifications = native.lock(), None

    def _notification_thread(self) -> "NotificationThread":
        # Imported here: the system checks build brokers, and psycopg may be missing.
        from telltale.brokers.postgres.notification_thread import NotificationThread

        with self._lock:
            if self._notifications is None:
                self._notifications = NotificationThread(self.address)
            return self._notifications


def build(url: SplitResult) -> PostgresBroker:
    """For `postgres://`, Django's own database, and `postgres://user:password@host/database`."""
    try:
        from telltale.brokers.postgres.address import parse
    except ImportError as error:
        raise ImproperlyConfigured(
            f"TELLTALE['BROKER'] is {url.scheme}://…, which needs psycopg 3: pip install 'psycopg[binary]'. ({error})"
        ) from error
    return PostgresBroker(parse(url))
