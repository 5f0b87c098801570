"""The regular reads: after one that failed, and at the end of an outage."""

import asyncio
from collections.abc import Collection
from typing import Any

import pytest
from django.db import OperationalError

from telltale import store
from telltale.core.policy import ConnectionPolicy, Phase
from telltale.live import tickets
from telltale.live.driver import Driver, close_driver, driver
from tests.live.test_broker_outage import eventually
from tests.live.test_hostile_publisher import Page

pytestmark = pytest.mark.django_db(transaction=True)

TOPIC = "project:7"


class Reads:
    """The store's reads of topics, which fail as long as the test says."""

    is_failing = False
    failures = 0

    def __init__(self) -> None:
        self._read = store.read_topics

    def __call__(self, topics: Collection[str]) -> Any:
        if self.is_failing:
            self.failures += 1
            raise OperationalError("The test says so.")
        return self._read(topics)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    reads = Reads()
    monkeypatch.setattr(store, "read_topics", reads)
    return reads


async def connected(live_driver: Driver) -> Any:
    """A client that has its snapshots."""
    client = live_driver.open(ConnectionPolicy(credit=None), Page())
    client.admit(tickets.issue([TOPIC]))
    await eventually(lambda: client.connection.phase is Phase.LIVE)
    return client


def test_what_a_broker_lost_is_read_again_soon_although_a_read_failed(reads: Reads, settings: Any) -> None:
    settings.TELLTALE = {**settings.TELLTALE, "RECHECK_S": 3_600.0}

    async def scenario() -> None:
        live_driver = driver()
        client = await connected(live_driver)
        reads.is_failing = True
        live_driver._missed(None)
        await eventually(lambda: not live_driver.can_read)
        reads.is_failing = False
        await eventually(lambda: live_driver.can_read)
        client.leave()
        await close_driver()

    asyncio.run(scenario())


def test_the_end_of_an_outage_is_noticed_also_while_no_client_is_connected(reads: Reads, settings: Any) -> None:
    settings.TELLTALE = {**settings.TELLTALE, "RECHECK_S": 1.0}

    async def scenario() -> None:
        live_driver = driver()
        client = await connected(live_driver)
        reads.is_failing = True
        live_driver._missed(None)
        await eventually(lambda: not live_driver.can_read)
        client.leave()
        assert live_driver.connection_count == 0
        before = reads.failures
        await eventually(lambda: reads.failures > before + 1)
        assert not live_driver.can_read
        reads.is_failing = False
        await eventually(lambda: live_driver.can_read)
        await close_driver()

    asyncio.run(scenario())
