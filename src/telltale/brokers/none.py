"""No broker: web processes re-read what they watch at the database's own pace.

Reach: nowhere. Cost: none here; one small query every two seconds for each web process that has followers.
Limits: updates come up to two seconds late.
"""

from collections.abc import Sequence
from urllib.parse import SplitResult

from telltale.brokers.base import Deliver, Listener, Message, Missed, Reach
from telltale.brokers.urls import refuse_parts


class NoneBroker:
    """Carries nothing."""

    reach = Reach.NOWHERE

    def publish(self, messages: Sequence[Message]) -> None:
        """Nobody can hear it."""

    def listen(self, deliver: Deliver, missed: Missed) -> Listener:
        """Neither is ever called."""
        return _Silence()

    def close(self) -> None:
        """There is nothing to let go of."""


class _Silence:
    def close(self) -> None:
        """There is nothing to stop."""


def build(url: SplitResult) -> NoneBroker:
    """For `none://`."""
    refuse_parts(url, "none://")
    return NoneBroker()
