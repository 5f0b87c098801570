"""The contract suites, for every broker."""

import asyncio
from collections.abc import Callable, Iterator
from typing import cast

import pytest
import uvloop

from telltale.brokers.redis.broker import RedisBroker
from telltale.testing.brokers import BrokerContract, DeliveryContract, SelectiveContract
from tests.brokers.factory import MakeBroker, broker_factory
from tests.brokers.loop_broker import LoopBroker, running_loop
from tests.servers import Postgres, Redis, RedisCluster, SecureRedis, WatchedRedis, running

RedisServer = Redis | WatchedRedis | RedisCluster


class TestMemory(DeliveryContract):
    @pytest.fixture
    def make_broker(self) -> Iterator[MakeBroker]:
        with broker_factory("memory://") as make_broker:
            broker = make_broker()
            yield lambda: broker


class TestLocal(DeliveryContract):
    @pytest.fixture
    def make_broker(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeBroker]:
        directory = tmp_path_factory.mktemp("l") / "s"
        with broker_factory(f"local://{directory}") as make_broker:
            yield make_broker


class TestNone(BrokerContract):
    @pytest.fixture
    def make_broker(self) -> Iterator[MakeBroker]:
        with broker_factory("none://") as make_broker:
            yield make_broker


@pytest.mark.service
class TestPostgres(DeliveryContract):
    @pytest.fixture
    def make_broker(self, postgres: Postgres) -> Iterator[MakeBroker]:
        with broker_factory(postgres.url) as make_broker:
            yield make_broker


@pytest.fixture(scope="class")
def server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """A server of the class's `server_class`, started once for all its tests."""
    with running(request.cls.server_class) as server:
        yield server


class RedisContract(SelectiveContract):
    """The contract of listeners that run in a thread, with one deployment of Redis."""

    server_class: type[RedisServer]

    @pytest.fixture
    def make_redis_broker(self, server: RedisServer) -> Iterator[MakeBroker]:
        with broker_factory(server.url) as make_broker:
            yield make_broker

    @pytest.fixture
    def make_broker(self, make_redis_broker: MakeBroker) -> MakeBroker:
        return make_redis_broker

    @pytest.fixture
    def disconnect(self, server: RedisServer) -> Callable[[], None]:
        return server.cut_listeners


@pytest.mark.service
class TestRedis(RedisContract):
    server_class = Redis


@pytest.mark.service
class TestRedisWithTLSAndUser(RedisContract):
    server_class = SecureRedis


@pytest.mark.service
class TestRedisBySentinel(RedisContract):
    server_class = WatchedRedis


@pytest.mark.service
class TestRedisCluster(RedisContract):
    server_class = RedisCluster


class OnLoopContract(RedisContract):
    """The contract of listeners that run on an event loop, as in web processes."""

    @pytest.fixture(params=["asyncio", "uvloop"])
    def loop(self, request: pytest.FixtureRequest) -> Iterator[asyncio.AbstractEventLoop]:
        with running_loop(asyncio.new_event_loop if request.param == "asyncio" else uvloop.new_event_loop) as loop:
            yield loop

    # The loop is the first argument, so that it is closed after the brokers.
    @pytest.fixture
    def make_broker(self, loop: asyncio.AbstractEventLoop, make_redis_broker: MakeBroker) -> MakeBroker:
        return lambda: LoopBroker(cast(RedisBroker, make_redis_broker()), loop)


@pytest.mark.service
class TestRedisOnALoop(OnLoopContract):
    server_class = Redis


@pytest.mark.service
class TestRedisWithTLSOnALoop(OnLoopContract):
    server_class = SecureRedis


@pytest.mark.service
class TestRedisClusterOnALoop(OnLoopContract):
    server_class = RedisCluster
