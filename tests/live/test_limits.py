"""Limits on live connections: of a person, and of visitors whose ticket names none."""

import asyncio
from typing import Any

import pytest

from telltale.core import reasons
from telltale.core.addresses import counted_address, is_public
from telltale.core.policy import ConnectionPolicy
from telltale.live import tickets
from telltale.live.client import ConnectedClient
from telltale.live.driver import close_driver, driver
from tests.live.test_hostile_publisher import Page

pytestmark = pytest.mark.django_db(transaction=True)

TOPIC = "project:7"


async def admitted(address: str, follower: str = "") -> ConnectedClient:
    client = driver().open(ConnectionPolicy(credit=None), Page(), address)
    client.admit(tickets.issue([TOPIC], follower=follower))
    return client


@pytest.mark.parametrize(
    ("addresses", "follower", "limit"),
    [
        (["8.8.8.8"], "", 3),
        (["2a00:1450:4001:800::1", "2a00:1450:4001:800:9::2"], "", 3),
        (["8.8.8.8", "9.9.9.9"], "user:7", 2),
        (["127.0.0.1"], "", None),
        (["10.0.0.7"], "", None),
        ([""], "", None),
    ],
)
def test_s36_one_person_has_a_limited_number_of_connections_also_without_a_session(
    settings: Any, addresses: list[str], follower: str, limit: int | None
) -> None:
    settings.TELLTALE = {**settings.TELLTALE, "CONNECTIONS_PER_USER": 2, "CONNECTIONS_WITHOUT_PERSON": 3}

    async def connect() -> list[object]:
        clients = [await admitted(addresses[number % len(addresses)], follower) for number in range(6)]
        closed = [client.connection.closed for client in clients]
        if limit is not None:
            clients[0].leave()
            assert (await admitted(addresses[0], follower)).connection.closed is None
        # Others are unaffected.
        assert (await admitted("1.1.1.1")).connection.closed is None
        await close_driver()
        return closed

    open_count = 6 if limit is None else limit
    assert asyncio.run(connect()) == [None] * open_count + [reasons.LIMIT] * (6 - open_count)


@pytest.mark.parametrize(
    ("address", "is_one_of_the_internet"),
    [("8.8.8.8", True), ("2a00:1450:4001:800::1", True), ("192.168.0.1", False), ("::1", False), ("x", False)],
)
def test_private_addresses_are_known(address: str, is_one_of_the_internet: bool) -> None:
    assert is_public(counted_address(address)) is is_one_of_the_internet
