"""The contract suites for `channels://`, over the layers of channels_redis and the in-memory layer.

Listeners run in a thread, or on an event loop as in web processes.
"""

import asyncio
import signal
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
import uvloop

from telltale.brokers.redis.broker import RedisBroker
from telltale.testing.brokers import MakeBroker, SelectiveContract, assert_eventually
from tests.brokers.factory import broker_factory
from tests.brokers.loop_broker import LoopBroker, running_loop
from tests.channels.layers import CORE, MEMORY, PUBSUB, BreakableLayer, layers
from tests.servers import Redis, running


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    """One server for all tests; a test that stops it starts it again."""
    with running(Redis) as server:
        yield server


@pytest.fixture
def short_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence is noticed after some two seconds; these tests don't check how long it takes."""
    monkeypatch.setattr("telltale.channels.broker.subscription.SILENCE_S", 0.5)
    monkeypatch.setattr("telltale.channels.broker.subscription.ANSWER_TIMEOUT_S", 1.5)


def joined_groups(redis: Redis) -> int:
    """The number of memberships (`RedisChannelLayer`), or of groups with subscriptions."""
    with redis.client() as admin:
        members = sum(admin.zcard(key) for key in admin.keys("asgi:group:*"))
        return members + len(admin.pubsub_channels("asgi__group__*"))


class RedisLayerContract(SelectiveContract):
    """Over a layer in Redis. All brokers have layers of their own, as those of several processes do."""

    backend: str

    @pytest.fixture
    def make_broker(self, redis: Redis, settings: Any) -> Iterator[MakeBroker]:
        redis.forget()
        settings.CHANNEL_LAYERS = layers(self.backend, redis.url)
        with broker_factory("channels://") as make_broker:
            yield make_broker

    @pytest.fixture
    def disconnect(self, redis: Redis, short_silence: None) -> Callable[[], None]:
        """Restart Redis, which then knows no groups, and wait until as many groups as before have been joined."""

        def restart() -> None:
            before = joined_groups(redis)
            redis.stop(signal.SIGKILL)
            redis.start()
            assert_eventually(lambda: joined_groups(redis) == before, "the groups are joined again")

        return restart


@pytest.mark.service
class TestCore(RedisLayerContract):
    backend = CORE


@pytest.mark.service
class TestPubSub(RedisLayerContract):
    backend = PUBSUB


class TestMemory(SelectiveContract):
    @pytest.fixture
    def make_broker(self, settings: Any) -> Iterator[MakeBroker]:
        settings.CHANNEL_LAYERS = layers(MEMORY)
        with broker_factory("channels://default") as make_broker:
            broker = make_broker()
            yield lambda: broker

    @pytest.fixture
    def disconnect(self, short_silence: None) -> Callable[[], None]:
        return BreakableLayer.forget_groups


class OnLoop:
    """The same with listeners on an event loop."""

    @pytest.fixture(params=["asyncio", "uvloop"])
    def loop(self, request: pytest.FixtureRequest) -> Iterator[asyncio.AbstractEventLoop]:
        with running_loop(asyncio.new_event_loop if request.param == "asyncio" else uvloop.new_event_loop) as loop:
            yield loop


@pytest.mark.service
class TestCoreOnALoop(OnLoop, RedisLayerContract):
    backend = CORE

    # The loop is the first argument, so that it is closed after the brokers.
    @pytest.fixture
    def make_broker(self, loop: asyncio.AbstractEventLoop, redis: Redis, settings: Any) -> Iterator[MakeBroker]:
        redis.forget()
        settings.CHANNEL_LAYERS = layers(self.backend, redis.url)
        with broker_factory("channels://") as make_broker:
            yield lambda: LoopBroker(cast(RedisBroker, make_broker()), loop)


class TestMemoryOnALoop(OnLoop, TestMemory):
    @pytest.fixture
    def make_broker(self, loop: asyncio.AbstractEventLoop, settings: Any) -> Iterator[MakeBroker]:
        settings.CHANNEL_LAYERS = layers(MEMORY)
        with broker_factory("channels://default") as make_broker:
            broker = LoopBroker(cast(RedisBroker, make_broker()), loop)
            yield lambda: broker
