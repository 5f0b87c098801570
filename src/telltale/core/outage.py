"""An outage is logged twice: when it begins and when it ends, and not in between.

For operations that are repeated, such as the reporter's saves and messages to a broker.
"""

import logging


class Outage:
    """Whether one operation fails at present. Threads may share it: at worst a line is logged twice."""

    def __init__(self, logger: logging.Logger, operation: str, consequence: str) -> None:
        """`operation`: its name, as the subject of a sentence; `consequence`: of its failure, as a sentence."""
        self._logger = logger
        self._operation = operation
        self._consequence = consequence
        self._began_at: float | None = None

    @property
    def is_ongoing(self) -> bool:
        """Whether the operation failed last."""
        return self._began_at is not None

    def begin(self, error: BaseException, *, now: float) -> None:
        """The operation failed at `now` (seconds, any clock)."""
        if self._began_at is None:
            self._began_at = now
            self._logger.warning("%s failed: %r. %s", self._operation, error, self._consequence)

    def end(self, *, now: float) -> None:
        """The operation worked."""
        began_at, self._began_at = self._began_at, None
        if began_at is not None:
            self._logger.warning("%s works again, after %.1f s.", self._operation, now - began_at)
