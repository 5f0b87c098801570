"""Ending a `receive` of a channel layer. Imports nothing of Channels, which the broker may find missing."""

import asyncio
from typing import Any, Final

CANCEL_EVERY_S: Final = 0.05
"""Between two attempts to cancel."""


async def cancel_receiving(receiving: "asyncio.Future[Any]") -> None:
    """Cancel the future again and again: `RedisChannelLayer.receive` sometimes goes on after it was cancelled.

    Up to Python 3.11, `asyncio.wait_for` ignores a cancellation that comes as its own wait ends, and redis-py writes
    each command by it. Raises nothing that `receiving` raises.
    """
    while not receiving.done():
        receiving.cancel()
        await asyncio.wait({receiving}, timeout=CANCEL_EVERY_S)
    await asyncio.gather(receiving, return_exceptions=True)
