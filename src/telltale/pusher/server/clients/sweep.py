"""What happens by time alone: pings and closings of silent clients, and the spread of a drain."""

import asyncio
from collections.abc import Collection
from itertools import islice
from typing import Final

from telltale.core.hub import SLICE
from telltale.pusher.protocol.close_codes import RECONNECT, RESTARTING_LATER
from telltale.pusher.server.clients.client import PusherClient

DRAIN_EVERY_S: Final = 0.05
"""Between two slices of connections that are closed while draining."""

DRAIN_S: Final = 5.0
"""The longest time over which a drain spreads its closing frames."""

RETURN_PER_S: Final = 1_000
"""Clients a second that a drain closes, if `DRAIN_S` is enough for that."""


async def check_clients(clients: Collection[PusherClient], now: float) -> None:
    """Send pings and close what is overdue, a slice in each turn of the event loop."""
    left = iter(list(clients))
    while batch := list(islice(left, SLICE)):
        for client in batch:
            if client.due_at <= now and client.is_open:
                client.check(now)
        await asyncio.sleep(0)


async def close_clients(clients: Collection[PusherClient]) -> None:
    """Close all clients of a server that is going away, spread over some seconds.

    One half is asked to return at once and one half after a second, because clients do not spread their return.
    """
    left = list(clients)
    size = max(int(RETURN_PER_S * DRAIN_EVERY_S), int(len(left) * DRAIN_EVERY_S / DRAIN_S) + 1)
    for start in range(0, len(left), size):
        for k, client in enumerate(left[start : start + size]):
            client.close(RECONNECT if k % 2 else RESTARTING_LATER)
        await asyncio.sleep(DRAIN_EVERY_S)
