"""The servers of brokers that need one."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest

from telltale.brokers import build
from telltale.brokers.base import Broker
from tests.servers import Postgres, running
from tests.transports.conftest import site as site


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One PostgreSQL for all; who stops it starts it again."""
    with running(Postgres) as server:
        yield server


@pytest.fixture
def make(postgres: Postgres) -> Iterator[Callable[..., Broker]]:
    """`make()`: the broker of another process of the site; `make(url)`: by another way."""
    with ExitStack() as stack:

        def make(url: str = postgres.url) -> Broker:
            made = build(url)
            stack.callback(made.close)
            return made

        yield make


@pytest.fixture
def bystander(postgres: Postgres) -> Iterator["psycopg.Connection[Any]"]:
    """A connection of somebody else's."""
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        yield connection
