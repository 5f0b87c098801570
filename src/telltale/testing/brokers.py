"""The contract suites of brokers: what every broker promises, as tests.

Subclass `BrokerContract` for a broker that delivers no messages, `DeliveryContract` for one that does, or
`SelectiveContract` if its listeners are `SelectiveListener`s. Provide the fixture `make_broker`: each call returns
the broker of another process of the same site, or, where the reach is one process, the same broker again. The
fixture closes all brokers.
"""

import threading
import time
from collections.abc import Callable, Collection, Sequence

import pytest

from telltale.brokers.base import Broker, Deliver, Listener, Message, Missed, SelectiveListener

TIMEOUT_S = 30.0
"""How long a test waits for an expected event; a slow machine may need most of it."""

TOPIC = "project:7"

MakeBroker = Callable[[], Broker]


class Received(list[bytes]):
    """The bodies that a listener received, in order, and how often it reported missed messages."""

    def __init__(self) -> None:
        super().__init__()
        self.missed_count = 0

    def deliver(self, bodies: Sequence[bytes]) -> None:
        """For `Broker.listen`."""
        self.extend(bodies)

    def on_missed(self, _topics: Collection[str] | None) -> None:
        """For `Broker.listen`."""
        self.missed_count += 1

    def assert_received(self, *bodies: bytes) -> None:
        """Wait until all of these are received."""
        assert_eventually(lambda: set(bodies) <= set(self), f"all of {bodies!r:.200} are received")


class BrokerContract:
    """The promises of every broker."""

    @pytest.fixture
    def make_broker(self) -> MakeBroker:
        """Return the broker of another process of the same site."""
        raise NotImplementedError("Override the fixture `make_broker`.")

    def test_a_closed_listener_receives_nothing_more(self, make_broker: MakeBroker) -> None:
        broker, received = make_broker(), Received()
        listener = listen(broker, received.deliver, received.on_missed)
        listener.close()
        listener.close()
        make_broker().publish(make_messages(b"too late"))
        time.sleep(0.1)
        assert received == []

    def test_publishing_without_listeners_is_harmless(self, make_broker: MakeBroker) -> None:
        broker = make_broker()
        broker.publish(make_messages(b"without listeners"))
        broker.publish([])

    def test_a_listener_that_hangs_does_not_delay_publishers(self, make_broker: MakeBroker) -> None:
        released = threading.Event()

        def deliver(bodies: Sequence[bytes]) -> None:
            released.wait(TIMEOUT_S)

        listen(make_broker(), deliver)
        broker = make_broker()
        started_at = time.monotonic()
        for n in range(500):
            broker.publish(make_messages(f"message {n}".encode() * 100))
        took_s = time.monotonic() - started_at
        released.set()
        assert took_s < TIMEOUT_S / 2

    def test_closing_twice_is_harmless(self, make_broker: MakeBroker) -> None:
        broker, received = make_broker(), Received()
        listen(broker, received.deliver, received.on_missed)
        broker.close()
        broker.close()


class DeliveryContract(BrokerContract):
    """The further promises of every broker that delivers messages."""

    def test_published_messages_are_received_within_reach(self, make_broker: MakeBroker) -> None:
        received = collect(make_broker())
        make_broker().publish(make_messages(b"one", b"two"))
        received.assert_received(b"one", b"two")

    def test_every_listener_receives_every_message(self, make_broker: MakeBroker) -> None:
        first, second = collect(make_broker()), collect(make_broker())
        make_broker().publish(make_messages(b"for all"))
        first.assert_received(b"for all")
        second.assert_received(b"for all")

    def test_bodies_of_any_bytes_arrive_unchanged(self, make_broker: MakeBroker) -> None:
        unusual = [b"", b"\0\n\r\xff", "Zürich 🛫".encode(), b"x" * 16_384]
        received = collect(make_broker())
        make_broker().publish(make_messages(*unusual))
        received.assert_received(*unusual[1:])

    def test_a_message_that_is_too_large_is_logged_and_the_others_are_received(
        self, make_broker: MakeBroker, caplog: pytest.LogCaptureFixture
    ) -> None:
        broker = make_broker()
        received = collect(make_broker())
        broker.publish(make_messages(b"before", b"x" * 100_000, b"after"))
        received.assert_received(b"before", b"after")
        assert not any(len(body) > 16_384 for body in received)
        assert "Publish a reference to large data" in caplog.text

    def test_an_exception_of_deliver_is_logged_and_the_listener_goes_on(
        self, make_broker: MakeBroker, caplog: pytest.LogCaptureFixture
    ) -> None:
        received = Received()

        def deliver(bodies: Sequence[bytes]) -> None:
            received.deliver(bodies)
            raise RuntimeError("the caller's mistake")

        listen(make_broker(), deliver, received.on_missed)
        broker = make_broker()
        broker.publish(make_messages(b"one"))
        received.assert_received(b"one")
        broker.publish(make_messages(b"two"))
        received.assert_received(b"two")
        assert_eventually(lambda: "the caller's mistake" in caplog.text, "the exception is logged")

    def test_several_threads_may_publish_at_once(self, make_broker: MakeBroker) -> None:
        received, broker = collect(make_broker()), make_broker()
        ready = threading.Barrier(4)

        def publish(name: int) -> None:
            ready.wait()
            for n in range(20):
                broker.publish(make_messages(f"{name} {n}".encode()))
                time.sleep(0.002)

        threads = [threading.Thread(target=publish, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        expected = {f"{name} {n}".encode() for name in range(4) for n in range(20)}
        assert_eventually(
            lambda: expected <= set(received) or received.missed_count > 0,
            "all messages are received or reported as missed",
        )

    def test_a_listener_that_falls_behind_receives_every_message_or_reports_missed_ones(
        self, make_broker: MakeBroker
    ) -> None:
        received, released = Received(), threading.Event()

        def deliver(bodies: Sequence[bytes]) -> None:
            released.wait(TIMEOUT_S)
            received.deliver(bodies)

        listen(make_broker(), deliver, received.on_missed)
        broker = make_broker()
        for n in range(5_000):
            broker.publish(make_messages(f"{n}".encode().zfill(1_000)))
        released.set()
        assert_eventually(
            lambda: received.missed_count > 0 or len(received) >= 5_000,
            "all messages are received or reported as missed",
        )


class SelectiveContract(DeliveryContract):
    """The further promises of every broker with `SelectiveListener`s. Provide the fixture `disconnect`, too."""

    @pytest.fixture
    def disconnect(self) -> Callable[[], None]:
        """Break the connections of all listeners, as a network failure would."""
        raise NotImplementedError("Override the fixture `disconnect`.")

    def test_only_followed_topics_are_received(self, make_broker: MakeBroker) -> None:
        received_without_topics, received = Received(), collect(make_broker())
        make_broker().listen(received_without_topics.deliver, received_without_topics.on_missed)
        make_broker().publish([*make_messages(b"other", topic="project:8"), *make_messages(b"ours")])
        received.assert_received(b"ours")
        assert received == [b"ours"]
        assert received_without_topics == []

    def test_messages_published_after_follow_returns_are_received(self, make_broker: MakeBroker) -> None:
        received, broker = Received(), make_broker()
        listener = listen_selectively(make_broker(), received)
        for n in range(20):
            listener.follow([f"project:{n}"])
            broker.publish(make_messages(f"{n}".encode(), topic=f"project:{n}"))
        received.assert_received(*(f"{n}".encode() for n in range(20)))

    def test_ten_thousand_topics_are_followed_in_one_call(self, make_broker: MakeBroker) -> None:
        received, broker = Received(), make_broker()
        listener = listen_selectively(make_broker(), received)
        started_at = time.monotonic()
        listener.follow([f"project:{n}" for n in range(10_000)])
        took_s = time.monotonic() - started_at
        first, last = make_messages(b"first", topic="project:0"), make_messages(b"last", topic="project:9999")
        broker.publish(first + last)
        received.assert_received(b"first", b"last")
        assert took_s < TIMEOUT_S / 2

    def test_following_a_topic_twice_or_no_topic_is_harmless(self, make_broker: MakeBroker) -> None:
        received = Received()
        listener = listen_selectively(make_broker(), received)
        listener.follow([])
        listener.forget([TOPIC])
        listener.follow([TOPIC])
        listener.follow([TOPIC])
        make_broker().publish(make_messages(b"one"))
        received.assert_received(b"one")

    def test_a_forgotten_topic_is_received_no_longer(self, make_broker: MakeBroker) -> None:
        received, broker = Received(), make_broker()
        listener = listen_selectively(make_broker(), received)
        listener.follow([TOPIC, "project:8"])
        listener.forget([TOPIC])
        attempts = iter(range(1_000))

        def is_forgotten() -> bool:
            n = next(attempts)
            forgotten, followed = f"forgotten {n}".encode(), f"followed {n}".encode()
            broker.publish([*make_messages(forgotten), *make_messages(followed, topic="project:8")])
            received.assert_received(followed)
            return forgotten not in received

        assert_eventually(is_forgotten, "the topic is received no longer")

    def test_a_forgotten_topic_can_be_followed_again(self, make_broker: MakeBroker) -> None:
        received, broker = Received(), make_broker()
        listener = listen_selectively(make_broker(), received)
        for n in range(5):
            listener.follow([TOPIC])
            broker.publish(make_messages(f"{n}".encode()))
            received.assert_received(f"{n}".encode())
            listener.forget([TOPIC])

    def test_a_message_with_several_topics_reaches_the_followers_of_each(self, make_broker: MakeBroker) -> None:
        received, broker = Received(), make_broker()
        listen_selectively(make_broker(), received).follow(["project:1", "project:3"])
        broker.publish([Message((f"project:{n}", f"project:{n + 1}"), f"{n}".encode()) for n in range(5)])
        received.assert_received(b"0", b"1", b"2", b"3")
        assert b"4" not in received

    def test_two_listeners_of_one_broker_follow_different_topics(self, make_broker: MakeBroker) -> None:
        broker, first, second = make_broker(), Received(), Received()
        listen_selectively(broker, first).follow(["project:1"])
        listen_selectively(broker, second).follow(["project:2"])
        make_broker().publish([*make_messages(b"one", topic="project:1"), *make_messages(b"two", topic="project:2")])
        first.assert_received(b"one")
        second.assert_received(b"two")
        assert (first, second) == ([b"one"], [b"two"])

    def test_following_from_within_deliver_does_not_hang(self, make_broker: MakeBroker) -> None:
        received, broker = Received(), make_broker()

        def deliver(bodies: Sequence[bytes]) -> None:
            received.deliver(bodies)
            if b"follow" in bodies:
                listener.follow(["project:8"])

        listener = listen_selectively(make_broker(), received, deliver)
        listener.follow([TOPIC])
        broker.publish(make_messages(b"follow"))
        assert_eventually(lambda: received.missed_count > 0, "the topic is subscribed and reported as missed")
        broker.publish(make_messages(b"subscribed", topic="project:8"))
        received.assert_received(b"subscribed")

    def test_a_disconnected_listener_connects_again_and_reports_missed_messages(
        self, make_broker: MakeBroker, disconnect: Callable[[], None]
    ) -> None:
        received, broker = Received(), make_broker()
        listener = listen_selectively(make_broker(), received)
        listener.follow([TOPIC, "project:8"])
        listener.forget(["project:8"])
        disconnect()
        assert_eventually(lambda: received.missed_count > 0, "missed messages are reported")
        listener.follow(["project:9"])
        forgotten = make_messages(b"forgotten", topic="project:8")
        broker.publish([*make_messages(b"again"), *make_messages(b"new", topic="project:9"), *forgotten])
        received.assert_received(b"again", b"new")
        assert b"forgotten" not in received


def make_messages(*bodies: bytes, topic: str = TOPIC) -> list[Message]:
    """A message to one topic for each body."""
    return [Message((topic,), body) for body in bodies]


def listen(broker: Broker, deliver: Deliver, missed: Missed = lambda topics: None, *, topic: str = TOPIC) -> Listener:
    """Start a listener; if it is a `SelectiveListener`, it follows `topic`."""
    listener = broker.listen(deliver, missed)
    if isinstance(listener, SelectiveListener):
        listener.follow([topic])
    return listener


def listen_selectively(broker: Broker, received: Received, deliver: Deliver | None = None) -> SelectiveListener:
    """Start a listener that follows nothing yet."""
    listener = broker.listen(deliver or received.deliver, received.on_missed)
    assert isinstance(listener, SelectiveListener)
    return listener


def collect(broker: Broker) -> Received:
    """Start a listener, and return the collection of what it receives."""
    received = Received()
    listen(broker, received.deliver, received.on_missed)
    return received


def assert_eventually(condition: Callable[[], bool], description: str) -> None:
    """Wait until `condition` returns True; fail after `TIMEOUT_S`, naming the condition."""
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, f"Waited {TIMEOUT_S:.0f} s in vain until {description}."
        time.sleep(0.01)
