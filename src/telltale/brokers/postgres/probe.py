"""Beginning to hear, and finding out whether one does: a connection may take LISTEN and yet stay deaf for ever.

So it does behind a pooler in transaction mode, which gives each transaction another server process. The proof
is a token, sent by another connection as any publisher's would be. Called by the courier, after each connect.
"""

import secrets
import time
from contextlib import closing
from typing import Final

from telltale import native
from telltale.brokers.base import BrokerUnavailable
from telltale.brokers.postgres import payloads
from telltale.brokers.postgres.address import FORM, Address
from telltale.brokers.postgres.line import Line

PROOF_S: Final = 3.0
"""How long the token may take, which takes a millisecond where anything is heard at all."""


class Deaf(BrokerUnavailable):
    """The connection took LISTEN, and hears nothing."""


def begin(line: Line, address: Address) -> list[bytes]:
    """Have `line` hear the channel, and prove it; the payloads heard so far. Raises `Deaf`, or `Cut`."""
    line.ask(b"LISTEN %b" % address.channel.encode())
    [token] = payloads.payloads([payloads.token(secrets.token_hex(8).encode())])
    with closing(Line.open(address.conninfo())) as other:
        notify(other, address, [token])
    heard: list[bytes] = []
    until = time.monotonic() + PROOF_S
    while token not in heard:
        left_s = until - time.monotonic()
        if left_s <= 0:
            raise Deaf(
                f"LISTEN was taken, but what was sent to {address.channel} by another connection was not heard "
                f"within {PROOF_S:g} s, as behind a pooler in transaction mode (PgBouncer). Name the PostgreSQL server "
                f"itself: TELLTALE['BROKER'] = '{FORM}'."
            )
        native.wait_for_io([line.fileno()], timeout_s=left_s)
        heard += line.heard()
    return heard


def notify(line: Line, address: Address, sent: list[bytes]) -> None:
    """Send these payloads in one transaction; raises `Cut`."""
    calls = ", ".join(f"pg_notify($1, ${n})" for n in range(2, len(sent) + 2))
    line.ask(f"SELECT {calls}".encode(), address.channel.encode(), *sent)
