"""Redis, as far as capacity goes: one core, on which every message is taken and handed to each process that follows."""

from collections.abc import Iterable

from benchmarks.capacity.clock import Core
from benchmarks.capacity.costs import Costs
from benchmarks.capacity.hub import Hub, Message


class Redis:
    """One server; `core` may be shared, as in the rig."""

    def __init__(self, costs: Costs, core: Core) -> None:
        self.busy_s = 0.0
        self._core = core
        self._costs = costs
        self._followed: dict[int, list[Hub]] = {}

    def follow(self, topics: Iterable[int], hub: Hub) -> None:
        """This process hears these from now on."""
        for topic in topics:
            self._followed.setdefault(topic, []).append(hub)

    def publish(self, message: Message) -> None:
        """A worker says something."""
        hearers = self._followed.get(message.topic, ())
        cost_s = (self._costs.redis_message_us + self._costs.redis_delivery_us * len(hearers)) / 1e6
        self.busy_s += cost_s

        def hand_over() -> None:
            for hub in hearers:
                hub.hear(message)

        self._core.spend(cost_s, hand_over)
