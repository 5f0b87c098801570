"""A PostgreSQL server, and brokers and connections to it."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.brokers.factory import MakeBroker, broker_factory
from tests.servers import Postgres, running
from tests.transports.conftest import site as site


@pytest.fixture(autouse=True)
def long_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow machine may take long to connect and to answer. Tests of servers that hang shorten these limits."""
    for name in (
        "redis.connection.CONNECT_TIMEOUT_S",
        "redis.topology.CONNECT_TIMEOUT_S",
        "redis.publisher.PUBLISH_TIMEOUT_S",
        "redis.sender.ANSWER_TIMEOUT_S",
        "redis.listener.FOLLOW_TIMEOUT_S",
        "redis.subscription.ANSWER_TIMEOUT_S",
        "postgres.connection.CONNECT_TIMEOUT_S",
        "postgres.connection.ANSWER_TIMEOUT_S",
        "postgres.broker.LISTEN_TIMEOUT_S",
        "postgres.probe.PROBE_TIMEOUT_S",
        "postgres.notification_thread.CLOSE_TIMEOUT_S",
    ):
        monkeypatch.setattr(f"telltale.brokers.{name}", 30.0)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One PostgreSQL server for all tests; a test that stops it starts it again."""
    with running(Postgres) as server:
        yield server


@pytest.fixture
def make_broker(postgres: Postgres) -> Iterator[MakeBroker]:
    """`make_broker()` builds the broker of another process of the site; `make_broker(url)`, one for another URL."""
    with broker_factory(postgres.url) as make_broker:
        yield make_broker


@pytest.fixture
def admin(postgres: Postgres) -> Iterator["psycopg.Connection[Any]"]:
    """A connection of the test's own."""
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        yield connection
