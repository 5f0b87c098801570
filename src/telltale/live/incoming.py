"""Messages of the broker, as envelopes. Those that can't be used are counted and skipped.

Other programs may publish on a shared broker. A message whose signature was verified is this site's own; the content of
any other is checked before a page gets it (`core/foreign.py`).
"""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from telltale.brokers.delivery import MESSAGE_BYTES, SIGNATURE_ROOM, LossCounter
from telltale.brokers.signing import Verified
from telltale.core.foreign import check_foreign
from telltale.core.snapshot import Order
from telltale.core.wire import Envelope, Kind, Malformed

PUSHER_PREFIX: Final = b"P"
"""Messages between processes of the stand-in server of `telltale.pusher` begin with it: they are no envelopes."""

unusable: Final = LossCounter(
    "%d malformed messages of the broker were skipped. The database has the truth. Does another program publish on the "
    "site's channels? See docs/brokers.md about signed messages."
)
"""Messages of this process's brokers that were no envelopes, or held what no page may get."""


def usable_envelopes(
    messages: Sequence[bytes],
    *,
    is_wanted: Callable[[Envelope], bool],
    on_claimed_end: Callable[[Envelope], object] | None = None,
) -> Iterator[Envelope]:
    """Yield the envelopes that are wanted, by their heads, and can be used.

    `on_claimed_end` is called with the unsigned ends of tasks, which are not yielded then: a page may stop following
    when it shows an end, so a forged one must never get there. None: they are yielded.
    """
    for message in messages:
        if message.startswith(PUSHER_PREFIX):
            continue
        try:
            envelope = Envelope.from_bytes(message, limit=MESSAGE_BYTES + SIGNATURE_ROOM)
            if not is_wanted(envelope):
                continue
            if not isinstance(message, Verified):
                check_foreign(envelope)
                if on_claimed_end is not None and envelope.kind is Kind.SNAPSHOT and _is_end(envelope.order):
                    on_claimed_end(envelope)
                    continue
        except Malformed:
            unusable.add(1, now=time.monotonic())
            continue
        yield envelope


def _is_end(order: Order) -> bool:
    _attempt, ended, _seq = order
    return ended
