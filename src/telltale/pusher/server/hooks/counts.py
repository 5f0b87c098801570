"""How many webhook events each app sent, retried and dropped, for a status page."""

from collections import Counter

from telltale import native


class HookCounts:
    """Counters by app id. Any thread may add; read them at any time."""

    def __init__(self) -> None:
        self.sent: Counter[str] = Counter()
        """Events that a target accepted."""
        self.retried: Counter[str] = Counter()
        """Requests that were sent again."""
        self.dropped: Counter[str] = Counter()
        """Events that a target did not accept in time, or that a full queue had no room for."""
        self._lock = native.lock()
        native.call_after_fork(self)

    def add(self, counter: Counter[str], app_id: str, number: int = 1) -> None:
        """Add to one of the counters; threads may do so at the same time."""
        with self._lock:
            counter[app_id] += number

    def after_fork(self) -> None:
        """In a child: the parent may have held the lock."""
        self._lock = native.lock()
