"""Flow control: how much may be sent to one client before it acknowledges.

Telltale counts acknowledged text itself, because servers differ: some never push back on a client that stops reading.
"""

from typing import Final

UNLIMITED: Final = 2**62
"""The credit of a client that can't acknowledge."""


class FlowControl:
    """The credit of one client. Sizes are characters of encoded text, instants are seconds by a clock that is not set.

    The base class of `Connection`, and not an attribute of it: `fan_out` updates `last_number` and `credit_left` at
    every delivery, and in a second object that takes 15 % longer.
    """

    __slots__ = (
        "_acknowledged",
        "_checkpoint",
        "credit",
        "credit_left",
        "is_ack_requested",
        "is_blocked",
        "last_number",
        "stopped_at",
    )

    def __init__(self, credit: int | None) -> None:
        """`credit`: how much may be unacknowledged; None where the transport has no way back."""
        self.credit = UNLIMITED if credit is None else credit
        self.credit_left = self.credit
        """How much may still be sent. The last frame may be larger; then it is negative."""
        self.last_number = 0
        """Of the newest frame that was sent; 0 before the first."""
        self.is_blocked = False
        """Whether the client's socket accepts nothing more at the moment."""
        self.is_ack_requested = False
        """Whether an acknowledgement was asked for and has not come."""
        self.stopped_at: float | None = None
        """Since when nothing may be sent and nothing was acknowledged; None while the client keeps up."""
        self._acknowledged = 0
        # A frame's number, and the size of all unacknowledged frames up to it. One checkpoint is enough: the next is
        # set when this one is acknowledged.
        self._checkpoint = (0, 0)

    @property
    def has_credit(self) -> bool:
        """Whether a frame may be sent now."""
        return self.credit_left > 0 and not self.is_blocked

    def _acknowledge(self, number: int) -> None:
        """The client has handled all frames up to `number`."""
        checkpoint, size = self._checkpoint
        if number >= self.last_number:
            self.credit_left, self._checkpoint = self.credit, (self.last_number, 0)
        elif number >= checkpoint:
            self.credit_left += size
            self._checkpoint = (self.last_number, self.credit - self.credit_left)
        if number > self._acknowledged:
            self._acknowledged, self.is_ack_requested = number, False
            self.stopped_at = None  # The client makes progress, if slowly.

    def _note_stop(self, now: float) -> None:
        """Set `stopped_at` after a change."""
        if self.has_credit:
            self.stopped_at = None
        elif self.stopped_at is None:
            self.stopped_at = now
