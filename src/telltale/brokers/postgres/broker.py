"""The broker of sites that have PostgreSQL and want no other service: its LISTEN and NOTIFY.

Reach: the whole site, all processes that reach one database. Cost: a connection and a thread a process; at most
20 small transactions a second, which wait for no disk. Limits: every process hears everything, so it is for some
dozens of them; a message may be 50 ms late; of a process that publishes more than some 1,800 snapshots a second,
followers read the store instead.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult

from django.core.exceptions import ImproperlyConfigured

from telltale import native
from telltale.brokers.base import Deliver, Listener, Message, Missed, Reach
from telltale.brokers.delivery import Callbacks, carriable
from telltale.brokers.postgres.listener import PostgresListener
from telltale.native import call_after_fork

if TYPE_CHECKING:
    from telltale.brokers.postgres.address import Address
    from telltale.brokers.postgres.courier import Courier

LISTEN_S: Final = 1.0
"""How long `listen` waits until it hears; a server nearby needs 20 ms."""


class PostgresBroker:
    """Hands messages to its courier, which exists from the first use to `close`."""

    reach = Reach.SITE

    def __init__(self, address: "Address") -> None:
        self.address = address
        self._lock = native.lock()
        self._courier: Courier | None = None
        call_after_fork(self)

    def publish(self, messages: Sequence[Message]) -> None:
        """Queue; the courier sends at once, or 50 ms after it last did. Raises `BrokerUnavailable` while it can't."""
        kept = carriable(messages)
        if kept:
            self._present().send(kept)

    def listen(self, deliver: Deliver, missed: Missed) -> Listener:
        """Hear from now on, if the server is there; if not, `missed` is called every 2 s until it is."""
        courier = self._present()
        listener = PostgresListener(Callbacks(deliver, missed), courier.audience.remove)
        courier.add(listener, patience_s=LISTEN_S)
        return listener

    def close(self) -> None:
        """Stop the listeners and send what is left, within a second; using it afterwards begins anew."""
        with self._lock:
            courier, self._courier = self._courier, None
        if courier is not None:
            courier.close()

    def after_fork(self) -> None:
        """The courier and the lock are the parent's."""
        self._lock, self._courier = native.lock(), None

    def _present(self) -> "Courier":
        # Imported here: the system checks build brokers, and may find psycopg missing.
        from telltale.brokers.postgres.courier import Courier

        with self._lock:
            if self._courier is None:
                self._courier = Courier(self.address)
            return self._courier


def build(url: SplitResult) -> PostgresBroker:
    """For `postgres://`, Django's own database, and `postgres://user:password@host/database`."""
    try:
        from telltale.brokers.postgres.address import read
    except ImportError as error:
        raise ImproperlyConfigured(
            f"TELLTALE['BROKER'] is {url.scheme}://…, which needs psycopg 3: pip install 'psycopg[binary]'. ({error})"
        ) from error
    return PostgresBroker(read(url))
