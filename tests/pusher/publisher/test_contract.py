"""The contract suites: alone, `pusher://` delivers to no process; with a second broker it delivers as that one does."""

from collections.abc import Iterator
from urllib.parse import quote

import pytest

from telltale.brokers import build
from telltale.brokers.base import EventLoopBroker, Reach
from telltale.testing.brokers import BrokerContract, DeliveryContract
from tests.brokers.factory import MakeBroker, broker_factory
from tests.pusher.publisher.recorder import Recorder


class TestPusher(BrokerContract):
    @pytest.fixture
    def make_broker(self, recorder: Recorder) -> Iterator[MakeBroker]:
        with broker_factory(recorder.url) as make_broker:
            yield make_broker


class TestPusherWithASecondBroker(DeliveryContract):
    @pytest.fixture
    def make_broker(self, recorder: Recorder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeBroker]:
        second = quote(f"local://{tmp_path_factory.mktemp('l') / 's'}", safe="")
        with broker_factory(f"{recorder.url}&and={second}") as make_broker:
            yield make_broker


@pytest.mark.parametrize(
    ("second", "reach", "listens_on_loops"),
    [
        ("", Reach.NOWHERE, False),
        ("&and=memory%3A%2F%2F", Reach.PROCESS, False),
        ("&and=redis%3A%2F%2Flocalhost%2F0", Reach.SITE, True),
    ],
)
def test_the_reach_is_that_of_the_second_broker(
    recorder: Recorder, second: str, reach: Reach, listens_on_loops: bool
) -> None:
    broker = build(recorder.url + second)
    assert broker.reach is reach
    assert isinstance(broker, EventLoopBroker) is listens_on_loops
    broker.close()
