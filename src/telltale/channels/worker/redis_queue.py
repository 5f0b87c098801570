"""The channels of a worker in Redis, as `channels_redis.core.RedisChannelLayer` keeps them: sorted sets of messages.

The layer's own `receive` can't be stopped without losing what Redis sends at that moment. `take` waits for a second at
most and is never cancelled, so a worker that stops can give back what it took last. A message whose taker is killed
in that moment is lost; its row then ends after the layer's expiry.
"""

import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any, Final

logger = logging.getLogger(__name__)

WAIT_S: Final = 1.0
"""How long one `take` waits: the longest delay of a worker that stops."""

WAIT_OF_SEVERAL_S: Final = 0.05
"""The same with several hosts, which are asked in turn: any of them may get the next message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A message that was taken, with what is needed to give it back."""

    channel: str
    message: dict[str, Any]
    host: int
    key: str
    member: bytes
    sent_at: float


class RedisQueue:
    """Takes messages of several channels, one at a time. For one event loop and one caller at a time."""

    def __init__(self, layer: Any, channels: Sequence[str]) -> None:
        self._layer = layer
        self._channels = {f"{layer.prefix}{channel}": channel for channel in channels}
        self._keys = deque(self._channels)
        self._hosts = cycle(range(layer.ring_size))
        self._wait_s = WAIT_S if layer.ring_size == 1 else WAIT_OF_SEVERAL_S

    @staticmethod
    def supports(layer: Any) -> bool:
        """Whether the layer keeps its messages in this way; also true of forks, such as that for Valkey."""
        return all(hasattr(type(layer), name) for name in ("connection", "receive_single", "deserialize"))

    async def take(self) -> Delivery | None:
        """The oldest message of one channel, taken out of Redis; None if none came in time. Raises Redis' errors."""
        host = next(self._hosts)
        answer = await self._layer.connection(host).bzpopmin(list(self._keys), timeout=self._wait_s)
        self._keys.rotate(-1)  # Redis looks in this order, and no channel shall wait for ever behind a busy one.
        if answer is None:
            return None
        key, member, sent_at = answer
        channel = self._channels[key.decode()]
        try:
            message = self._layer.deserialize(member)
        except Exception:
            logger.exception("A message on %r can't be read, and is dropped.", channel)
            return None
        if not isinstance(message, dict):
            logger.error("A message on %r is no dict (%.80r), and is dropped.", channel, message)
            return None
        return Delivery(
            channel=channel, message=message, host=host, key=key.decode(), member=member, sent_at=float(sent_at)
        )

    async def give_back(self, delivery: Delivery) -> None:
        """Put a message back in its place, for the next worker. Raises Redis' errors."""
        connection = self._layer.connection(delivery.host)
        await connection.zadd(delivery.key, {delivery.member: delivery.sent_at})
        await connection.expire(delivery.key, int(self._layer.expiry))
