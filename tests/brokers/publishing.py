"""Publishing while a broker may be unavailable."""

import time
from itertools import count

from telltale.brokers.base import Broker, BrokerUnavailable
from telltale.testing.brokers import TOPIC, Received, assert_eventually, make_messages


def try_to_publish(broker: Broker, body: bytes, topic: str = TOPIC) -> bool:
    """Publish; False if that raised `BrokerUnavailable`."""
    try:
        broker.publish(make_messages(body, topic=topic))
    except BrokerUnavailable:
        return False
    return True


def assert_works_again(broker: Broker, received: Received, topic: str = TOPIC) -> None:
    """Publish again and again, until a message is received."""
    start = f"{topic} again ".encode()
    bodies = (start + b"%d" % n for n in count())

    def is_received() -> bool:
        try_to_publish(broker, next(bodies), topic)
        time.sleep(0.02)
        return any(body.startswith(start) for body in list(received))

    assert_eventually(is_received, f"messages to {topic} are received")


def assert_recovery(broker: Broker, received: Received, topic: str = TOPIC) -> None:
    """Wait until missed messages are reported, and messages are received again."""
    assert_eventually(lambda: received.missed_count > 0, "missed messages are reported")
    assert_works_again(broker, received, topic)


def assert_failing_at_once(broker: Broker) -> None:
    """Publishing fails, and does not wait: in an outage, only one call may."""
    started_at = time.monotonic()
    assert {try_to_publish(broker, b"in vain") for _ in range(200)} == {False}
    assert time.monotonic() - started_at < 30
