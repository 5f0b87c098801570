"""The servers of brokers that need one."""

from collections.abc import Iterator

import pytest

from tests.servers import Postgres, running


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One PostgreSQL for all; who stops it starts it again."""
    with running(Postgres) as server:
        yield server
