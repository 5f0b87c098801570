"""An outage is said twice: when it begins and when it ends. In between there is silence in the log.

Called by whatever tries again and again: the reporter's saves, the handing over to a broker.
"""

import logging


class Outage:
    """One thing that may be out of order. Threads may share it: at worst something is said once more."""

    def __init__(self, logger: logging.Logger, what: str, meanwhile: str) -> None:
        """`what` is out of order; `meanwhile`: what that means, in a sentence."""
        self._logger = logger
        self._what = what
        self._meanwhile = meanwhile
        self._began_at: float | None = None

    @property
    def lasts(self) -> bool:
        """Whether it is going on."""
        return self._began_at is not None

    def begin(self, error: BaseException, *, now: float) -> None:
        """Something failed at `now` (seconds, any clock)."""
        if self._began_at is None:
            self._began_at = now
            self._logger.warning("%s failed: %r. %s", self._what, error, self._meanwhile)

    def end(self, *, now: float) -> None:
        """Something worked."""
        began_at, self._began_at = self._began_at, None
        if began_at is not None:
            self._logger.warning("%s works again, after %.1f s.", self._what, now - began_at)
