"""The difference between the two clocks of a hub.

Durations are measured by a clock that is never set (`now` in the hub and its connections). Instants, which are stored,
sent or signed, are by the store's clock. A clock that is set, on this machine or the database's, therefore holds
nothing back and closes no connection.
"""


class ClockOffset:
    """The store's clock minus the clock of `now`, in seconds. One object for a hub and all its connections."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
