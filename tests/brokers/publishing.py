"""Publishing while a broker may be unavailable."""

from telltale.brokers.base import Broker, BrokerUnavailable
from telltale.testing.brokers import TOPIC, make_messages


def try_to_publish(broker: Broker, body: bytes, topic: str = TOPIC) -> bool:
    """Publish; False if that raised `BrokerUnavailable`."""
    try:
        broker.publish(make_messages(body, topic=topic))
    except BrokerUnavailable:
        return False
    return True
