"""LISTEN, and the test that notifications arrive: the server may accept LISTEN and yet never deliver any.

That happens behind a pooler in transaction mode, which gives each transaction another server process. The test is
a token, sent over another connection. The notification thread calls `start_listening` after each connect.
"""

import secrets
import time
from contextlib import closing
from typing import Final

from telltale import native
from telltale.brokers.base import BrokerUnavailable
from telltale.brokers.postgres import payloads
from telltale.brokers.postgres.address import EXAMPLE, PostgresAddress
from telltale.brokers.postgres.connection import PostgresConnection

PROBE_TIMEOUT_S: Final = 3.0
"""How long the token may take; where notifications arrive at all, it takes a millisecond."""


class NothingReceived(BrokerUnavailable):
    """The server accepted LISTEN, but no notifications arrive."""


def start_listening(connection: PostgresConnection, address: PostgresAddress) -> list[bytes]:
    """Subscribe to the channel, and wait for a token that is sent to it; return the payloads received meanwhile.

    Raises `NothingReceived` or `PostgresUnavailable`.
    """
    connection.execute(b"LISTEN %b" % address.channel.encode())
    [token_payload] = payloads.to_payloads([payloads.probe_part(secrets.token_hex(8).encode())])
    with closing(PostgresConnection.open(address.conninfo())) as other_connection:
        notify(other_connection, address, [token_payload])
    received: list[bytes] = []
    deadline = time.monotonic() + PROBE_TIMEOUT_S
    while token_payload not in received:
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise NothingReceived(
                f"The server accepted LISTEN, but a notification that another connection sent to {address.channel} "
                f"did not arrive within {PROBE_TIMEOUT_S:g} s, as behind a pooler in transaction mode (PgBouncer). "
                f"Name the PostgreSQL server itself: TELLTALE['BROKER'] = '{EXAMPLE}'."
            )
        native.wait_for_io([connection.fileno()], timeout_s=left_s)
        received += connection.notifications()
    return received


def notify(connection: PostgresConnection, address: PostgresAddress, payloads_to_send: list[bytes]) -> None:
    """Send the payloads in one transaction; raises `PostgresUnavailable`."""
    calls = ", ".join(f"pg_notify($1, ${number})" for number in range(2, len(payloads_to_send) + 2))
    connection.execute(f"SELECT {calls}".encode(), address.channel.encode(), *payloads_to_send)
