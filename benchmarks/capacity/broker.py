"""Redis as one core, which receives each message and sends it to every subscribed process."""

from collections.abc import Iterable

from benchmarks.capacity.costs import Costs
from benchmarks.capacity.hub import Hub, Message
from benchmarks.capacity.simulation import Core


class Redis:
    """One Redis server. Its core may be that of the live server, as in the rig."""

    def __init__(self, costs: Costs, core: Core) -> None:
        self.busy_s = 0.0
        self._core = core
        self._costs = costs
        self._subscribers: dict[int, list[Hub]] = {}

    def subscribe(self, topics: Iterable[int], hub: Hub) -> None:
        """Send messages of these topics to the hub."""
        for topic in topics:
            self._subscribers.setdefault(topic, []).append(hub)

    def publish(self, message: Message) -> None:
        """Receive a message from a worker."""
        subscribers = self._subscribers.get(message.topic, ())
        cost_s = (self._costs.redis_message_us + self._costs.redis_delivery_us * len(subscribers)) / 1e6
        self.busy_s += cost_s

        def send() -> None:
            for hub in subscribers:
                hub.receive(message)

        self._core.run_for(cost_s, send)
