"""All brokers and their contract."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import cast

import pytest
import uvloop

from telltale.brokers import build
from telltale.brokers.base import Broker
from telltale.brokers.redis.broker import RedisBroker
from telltale.testing.brokers import BrokerContract, CarryingContract, SelectiveContract
from tests.brokers.on_loop import OnItsLoop, running_loop
from tests.servers import Postgres, Redis, RedisCluster, SecureRedis, WatchedRedis, running

Make = Callable[[], Broker]


@contextmanager
def brokers(url: str, *, is_one: bool = False) -> Iterator[Make]:
    """A broker a call, or the same one again where no two share anything."""
    with ExitStack() as stack:
        made: list[Broker] = []

        def make() -> Broker:
            if not (is_one and made):
                made.append(build(url))
                stack.callback(made[-1].close)
            return made[-1]

        yield make


class TestMemory(CarryingContract):
    @pytest.fixture
    def make(self) -> Iterator[Make]:
        with brokers("memory://", is_one=True) as make:
            yield make


class TestLocal(CarryingContract):
    @pytest.fixture
    def make(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Make]:
        directory: Path = tmp_path_factory.mktemp("l") / "s"
        with brokers(f"local://{directory}") as make:
            yield make


class TestNone(BrokerContract):
    @pytest.fixture
    def make(self) -> Iterator[Make]:
        with brokers("none://") as make:
            yield make


@pytest.mark.service
class TestPostgres(CarryingContract):
    @pytest.fixture
    def make(self, postgres: Postgres) -> Iterator[Make]:
        with brokers(postgres.url) as make:
            yield make


@pytest.fixture(scope="class")
def server(request: pytest.FixtureRequest) -> Iterator[Redis | WatchedRedis | RedisCluster]:
    """Of the class's kind, started once for all its tests."""
    with running(request.cls.kind) as server:
        yield server


class RedisContract(SelectiveContract):
    """Over one kind of server."""

    kind: type[Redis | WatchedRedis | RedisCluster]

    @pytest.fixture
    def make(
        self, server: Redis | WatchedRedis | RedisCluster, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[Callable[[], Broker]]:
        # How long a busy machine takes to connect is not what is tested here.
        monkeypatch.setattr("telltale.brokers.redis.publisher.WAIT_S", 10.0)
        monkeypatch.setattr("telltale.brokers.redis.listener.FOLLOW_S", 10.0)
        with brokers(server.url) as make:
            yield make

    @pytest.fixture
    def cut(self, server: Redis | WatchedRedis | RedisCluster) -> Callable[[], None]:
        return server.cut_listeners


@pytest.mark.service
class TestRedis(RedisContract):
    kind = Redis


@pytest.mark.service
class TestRedisWithTLSAndUser(RedisContract):
    kind = SecureRedis


@pytest.mark.service
class TestRedisBySentinel(RedisContract):
    kind = WatchedRedis


@pytest.mark.service
class TestRedisCluster(RedisContract):
    kind = RedisCluster


class OnLoopContract(RedisContract):
    """The same, by the loop of a web process."""

    @pytest.fixture(params=["asyncio", "uvloop"])
    def loop(self, request: pytest.FixtureRequest) -> Iterator[asyncio.AbstractEventLoop]:
        with running_loop(asyncio.new_event_loop if request.param == "asyncio" else uvloop.new_event_loop) as loop:
            yield loop

    @pytest.fixture
    def make(
        self, server: Redis | RedisCluster, loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[Callable[[], Broker]]:
        monkeypatch.setattr("telltale.brokers.redis.publisher.WAIT_S", 10.0)
        monkeypatch.setattr("telltale.brokers.redis.loop_listener.FOLLOW_S", 10.0)
        with brokers(server.url) as make:
            yield lambda: OnItsLoop(cast(RedisBroker, make()), loop)


@pytest.mark.service
class TestRedisOnALoop(OnLoopContract):
    kind = Redis


@pytest.mark.service
class TestRedisWithTLSOnALoop(OnLoopContract):
    kind = SecureRedis


@pytest.mark.service
class TestRedisClusterOnALoop(OnLoopContract):
    kind = RedisCluster
