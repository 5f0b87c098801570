"""Brokers that are closed after a test."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from telltale.brokers import build
from telltale.brokers.base import Broker

MakeBroker = Callable[..., Broker]


@contextmanager
def broker_factory(default_url: str) -> Iterator[MakeBroker]:
    """Yield `make_broker(url=default_url)`, which builds a broker; all brokers are closed at the end."""
    with ExitStack() as stack:

        def make_broker(url: str = default_url) -> Broker:
            broker = build(url)
            stack.callback(broker.close)
            return broker

        yield make_broker
