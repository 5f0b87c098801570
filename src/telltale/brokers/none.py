"""No broker: web processes re-read the store every two seconds.

Reach: nowhere. Cost: none here; one small query every two seconds for each web process that has followers.
Limits: updates arrive up to two seconds late.
"""

from collections.abc import Sequence
from urllib.parse import SplitResult

from telltale.brokers.base import Deliver, Listener, Message, Missed, Reach
from telltale.brokers.urls import require_scheme_only


class NoneBroker:
    """Carries no messages."""

    reach = Reach.NOWHERE

    def publish(self, messages: Sequence[Message]) -> None:
        """Do nothing."""

    def listen(self, deliver: Deliver, missed: Missed) -> Listener:
        """Return a listener that calls neither."""
        return _IdleListener()

    def close(self) -> None:
        """Do nothing."""


class _IdleListener:
    def close(self) -> None:
        """Do nothing."""


def build(url: SplitResult) -> NoneBroker:
    """For `none://`."""
    require_scheme_only(url, "none://")
    return NoneBroker()
