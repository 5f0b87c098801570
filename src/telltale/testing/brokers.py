"""The contract suite of brokers: what every one of them promises, told as tests.

Subclass `CarryingContract`, or `BrokerContract` for a broker that reaches nobody, or `SelectiveContract` for one
whose listeners choose, and provide the fixture `make`: each call gives another broker as another process of the
same site would have it, or the same one where the reach is one process. All are closed by the fixture.
"""

import threading
import time
from collections.abc import Callable, Collection, Sequence

import pytest

from telltale.brokers.base import Broker, Deliver, Listener, Message, Missed, Selective

PATIENCE_S = 10.0
"""How long a test waits for what should come; a slow machine needs most of it, a quick one none."""

TOPIC = "project:7"

Make = Callable[[], Broker]


class Heard(list[bytes]):
    """What a listener was given, in order, and how often it was told that something is missing."""

    def __init__(self) -> None:
        super().__init__()
        self.missed = 0

    def deliver(self, messages: Sequence[bytes]) -> None:
        """For `Broker.listen`."""
        self.extend(messages)

    def miss(self, _topics: Collection[str] | None) -> None:
        """For `Broker.listen`."""
        self.missed += 1

    def until(self, *messages: bytes) -> None:
        """Wait for all of these."""
        eventually(lambda: set(messages) <= set(self), f"all of {messages!r:.200} are heard")


class BrokerContract:
    """What holds for every broker."""

    @pytest.fixture
    def make(self) -> Make:
        """Another process's broker of the same site."""
        raise NotImplementedError("Override the fixture `make`.")

    def test_a_closed_listener_hears_no_more(self, make: Make) -> None:
        broker, heard = make(), Heard()
        listener = listen(broker, heard.deliver, heard.miss)
        listener.close()
        listener.close()
        make().publish(said(b"too late"))
        time.sleep(0.1)
        assert heard == []

    def test_publishing_with_nobody_there_is_no_trouble(self, make: Make) -> None:
        broker = make()
        broker.publish(said(b"to nobody"))
        broker.publish([])

    def test_a_listener_that_hangs_delays_no_publisher(self, make: Make) -> None:
        hangs, goes_on = threading.Event(), threading.Event()

        def deliver(messages: Sequence[bytes]) -> None:
            hangs.set()
            goes_on.wait(PATIENCE_S)

        listen(make(), deliver)
        broker = make()
        began = time.monotonic()
        for n in range(500):
            broker.publish(said(f"message {n}".encode() * 100))
        took_s = time.monotonic() - began
        goes_on.set()
        assert took_s < PATIENCE_S / 2

    def test_closing_twice_is_harmless(self, make: Make) -> None:
        broker, heard = make(), Heard()
        listen(broker, heard.deliver, heard.miss)
        broker.close()
        broker.close()


class CarryingContract(BrokerContract):
    """What holds besides for every broker that reaches anybody."""

    def test_what_is_published_is_heard_within_reach(self, make: Make) -> None:
        heard = hear(make())
        make().publish(said(b"one", b"two"))
        heard.until(b"one", b"two")

    def test_every_listener_hears_everything(self, make: Make) -> None:
        first, second = hear(make()), hear(make())
        make().publish(said(b"for all"))
        first.until(b"for all")
        second.until(b"for all")

    def test_messages_of_any_bytes_arrive_whole(self, make: Make) -> None:
        odd = [b"", b"\0\n\r\xff", "Zürich 🛫".encode(), b"x" * 16_384]
        heard = hear(make())
        make().publish(said(*odd))
        heard.until(*odd[1:])

    def test_one_that_is_too_large_takes_none_of_the_others_along(
        self, make: Make, caplog: pytest.LogCaptureFixture
    ) -> None:
        broker = make()
        heard = hear(make())
        broker.publish(said(b"before", b"x" * 100_000, b"after"))
        heard.until(b"before", b"after")
        assert not any(len(message) > 16_384 for message in heard)
        assert "Publish a reference to large data" in caplog.text

    def test_a_listener_survives_what_its_caller_raises(self, make: Make, caplog: pytest.LogCaptureFixture) -> None:
        heard = Heard()

        def deliver(messages: Sequence[bytes]) -> None:
            heard.deliver(messages)
            raise RuntimeError("the caller's mistake")

        listen(make(), deliver, heard.miss)
        broker = make()
        broker.publish(said(b"one"))
        heard.until(b"one")
        broker.publish(said(b"two"))
        heard.until(b"two")
        eventually(lambda: "the caller's mistake" in caplog.text, "the mistake is in the log")

    def test_threads_may_publish_at_once(self, make: Make) -> None:
        heard, broker = hear(make()), make()
        ready = threading.Barrier(4)

        def publish(name: int) -> None:
            ready.wait()
            for n in range(20):
                broker.publish(said(f"{name} {n}".encode()))
                time.sleep(0.002)

        threads = [threading.Thread(target=publish, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        everything = {f"{name} {n}".encode() for name in range(4) for n in range(20)}
        eventually(lambda: everything <= set(heard) or heard.missed > 0, "all is heard, or that it is not")

    def test_a_listener_that_fell_behind_is_told_so(self, make: Make) -> None:
        heard, goes_on = Heard(), threading.Event()

        def deliver(messages: Sequence[bytes]) -> None:
            goes_on.wait(PATIENCE_S)
            heard.deliver(messages)

        listen(make(), deliver, heard.miss)
        broker = make()
        for n in range(5_000):
            broker.publish(said(f"{n}".encode().zfill(1_000)))
        goes_on.set()
        eventually(lambda: heard.missed > 0 or len(heard) >= 5_000, "it hears all, or that it has not")


class SelectiveContract(CarryingContract):
    """What holds besides for every broker whose listeners are `Selective`. Provide the fixture `cut`, too."""

    @pytest.fixture
    def cut(self) -> Callable[[], None]:
        """Cut the lines of all who listen, as a broken network would."""
        raise NotImplementedError("Override the fixture `cut`.")

    def test_nothing_is_heard_that_is_not_followed(self, make: Make) -> None:
        nothing, heard = Heard(), hear(make())
        make().listen(nothing.deliver, nothing.miss)
        make().publish([*said(b"other", topic="project:8"), *said(b"ours")])
        heard.until(b"ours")
        assert heard == [b"ours"]
        assert nothing == []

    def test_what_is_followed_is_heard_from_then_on(self, make: Make) -> None:
        heard, broker = Heard(), make()
        listener = choose(make(), heard)
        for n in range(20):
            listener.follow([f"project:{n}"])
            broker.publish(said(f"{n}".encode(), topic=f"project:{n}"))
        heard.until(*(f"{n}".encode() for n in range(20)))

    def test_thousands_are_followed_at_once(self, make: Make) -> None:
        heard, broker = Heard(), make()
        listener = choose(make(), heard)
        began = time.monotonic()
        listener.follow([f"project:{n}" for n in range(10_000)])
        took_s = time.monotonic() - began
        broker.publish(said(b"first", topic="project:0") + said(b"last", topic="project:9999"))
        heard.until(b"first", b"last")
        assert took_s < PATIENCE_S / 2

    def test_following_what_is_followed_and_nothing_at_all_is_no_trouble(self, make: Make) -> None:
        heard = Heard()
        listener = choose(make(), heard)
        listener.follow([])
        listener.forget([TOPIC])
        listener.follow([TOPIC])
        listener.follow([TOPIC])
        make().publish(said(b"one"))
        heard.until(b"one")

    def test_what_is_forgotten_is_heard_no_more(self, make: Make) -> None:
        heard, broker = Heard(), make()
        listener = choose(make(), heard)
        listener.follow([TOPIC, "project:8"])
        listener.forget([TOPIC])
        tries = iter(range(1_000))

        def is_forgotten() -> bool:
            n = next(tries)
            broker.publish([*said(f"forgotten {n}".encode()), *said(f"followed {n}".encode(), topic="project:8")])
            heard.until(f"followed {n}".encode())
            return f"forgotten {n}".encode() not in heard

        eventually(is_forgotten, "it is heard no more")

    def test_what_is_forgotten_can_be_followed_again(self, make: Make) -> None:
        heard, broker = Heard(), make()
        listener = choose(make(), heard)
        for n in range(5):
            listener.follow([TOPIC])
            broker.publish(said(f"{n}".encode()))
            heard.until(f"{n}".encode())
            listener.forget([TOPIC])

    def test_a_message_with_several_topics_reaches_the_followers_of_each(self, make: Make) -> None:
        heard, broker = Heard(), make()
        choose(make(), heard).follow(["project:1", "project:3"])
        broker.publish([Message((f"project:{n}", f"project:{n + 1}"), f"{n}".encode()) for n in range(5)])
        heard.until(b"0", b"1", b"2", b"3")
        assert b"4" not in heard

    def test_listeners_of_one_broker_choose_each_for_itself(self, make: Make) -> None:
        broker, first, second = make(), Heard(), Heard()
        choose(broker, first).follow(["project:1"])
        choose(broker, second).follow(["project:2"])
        make().publish([*said(b"one", topic="project:1"), *said(b"two", topic="project:2")])
        first.until(b"one")
        second.until(b"two")
        assert (first, second) == ([b"one"], [b"two"])

    def test_following_from_within_a_delivery_hangs_nothing(self, make: Make) -> None:
        heard, broker = Heard(), make()

        def deliver(messages: Sequence[bytes]) -> None:
            heard.deliver(messages)
            if b"follow" in messages:
                listener.follow(["project:8"])

        listener = choose(make(), heard, deliver)
        listener.follow([TOPIC])
        broker.publish(said(b"follow"))
        eventually(lambda: heard.missed > 0, "it is told as missed, once it is heard")
        broker.publish(said(b"heard", topic="project:8"))
        heard.until(b"heard")

    def test_whoever_was_cut_off_comes_back_and_says_so(self, make: Make, cut: Callable[[], None]) -> None:
        heard, broker = Heard(), make()
        listener = choose(make(), heard)
        listener.follow([TOPIC, "project:8"])
        listener.forget(["project:8"])
        cut()
        eventually(lambda: heard.missed > 0, "it says that something may have been lost")
        listener.follow(["project:9"])
        broker.publish([*said(b"again"), *said(b"new", topic="project:9"), *said(b"gone", topic="project:8")])
        heard.until(b"again", b"new")
        assert b"gone" not in heard


def said(*bodies: bytes, topic: str = TOPIC) -> list[Message]:
    """Messages to one topic."""
    return [Message((topic,), body) for body in bodies]


def listen(broker: Broker, deliver: Deliver, missed: Missed = lambda topics: None, *, topic: str = TOPIC) -> Listener:
    """Begin to hear one topic."""
    listener = broker.listen(deliver, missed)
    if isinstance(listener, Selective):
        listener.follow([topic])
    return listener


def choose(broker: Broker, heard: Heard, deliver: Deliver | None = None) -> Selective:
    """A listener that follows nothing yet."""
    listener = broker.listen(deliver or heard.deliver, heard.miss)
    assert isinstance(listener, Selective)
    return listener


def hear(broker: Broker) -> Heard:
    """What is heard from now on."""
    heard = Heard()
    listen(broker, heard.deliver, heard.miss)
    return heard


def eventually(true: Callable[[], bool], what: str) -> None:
    """Wait for it, or fail and say in vain for what."""
    patience = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < patience, f"Waited {PATIENCE_S:.0f} s in vain until {what}."
        time.sleep(0.01)
