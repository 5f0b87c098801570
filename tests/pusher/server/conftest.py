"""What tests of the stand-in server share."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.pusher.server.webhook_receiver import Receiver, receiving


@pytest.fixture
def make_receiver() -> Iterator[Callable[[], Receiver]]:
    """Return a function that starts one more receiver of webhooks."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(receiving(Receiver()))


@pytest.fixture
def receiver(make_receiver: Callable[[], Receiver]) -> Receiver:
    """A receiver of webhooks, which serves."""
    return make_receiver()
