"""Webhooks of a site with two real processes over Redis: sent once for the site, and still sent when a process dies.

A marker shows that nothing else comes: a channel that is vacated later, whose webhook arrives after all others.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.pusher.clients.apps import App
from tests.pusher.server.hooks.webhook_receiver import Receiver
from tests.pusher.server.site_processes import Process, processes
from tests.servers import Redis, running
from tests.transports.sites import wait_until

pytestmark = [pytest.mark.service, pytest.mark.timeout(180)]

ROOM = "presence-room"

Pair = tuple[Process, Process]


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    with running(Redis) as server:
        yield server


@pytest.fixture
def pair(tmp_path: Path, redis: Redis, receiver: Receiver) -> Iterator[Pair]:
    """Two processes; the first one started first, and leads."""
    with processes(tmp_path, App.number(1), redis.url, [receiver.url]) as make_process:
        first, second = make_process(), make_process()
        leaves_marker(first, receiver)
        yield first, second


def leaves_marker(process: Process, receiver: Receiver) -> None:
    """Have a channel vacated, and wait until that is told: the webhooks of all that happened before have come."""
    count = events(receiver, "channel_vacated", "marker")
    process.subscriber("marker").close()
    wait_until(lambda: events(receiver, "channel_vacated", "marker") > count, "the marker's webhook arrives")


def events(receiver: Receiver, name: str, channel: str, user_id: str | None = None) -> int:
    """Return how many of these events have arrived."""
    wanted = {"name": name, "channel": channel} | ({} if user_id is None else {"user_id": user_id})
    return sum(wanted.items() <= event.items() for event in receiver.events)


def names(receiver: Receiver, channel: str) -> list[Any]:
    return [event["name"] for event in receiver.events if event["channel"] == channel]


@pytest.mark.parametrize("order", [0, 1], ids=["the leader's client leaves first", "the other's client leaves first"])
def test_a_channel_is_not_told_vacated_while_others_remain_on_another_process(
    pair: Pair, receiver: Receiver, order: int
) -> None:
    """P67: a reported fault (soketi#616)."""
    first, last = (pair[order], pair[1 - order])
    leaving, staying = first.subscriber("news"), last.subscriber("news")
    wait_until(lambda: all(p.info("news").get("subscription_count") == 2 for p in pair), "all know both")
    leaving.close()
    leaves_marker(first, receiver)
    assert names(receiver, "news") == ["channel_occupied"]
    staying.close()
    wait_until(lambda: events(receiver, "channel_vacated", "news") > 0, "the channel is told vacated")
    leaves_marker(first, receiver)
    assert names(receiver, "news") == ["channel_occupied", "channel_vacated"]


def test_a_reload_of_a_page_fires_no_webhook_although_it_comes_back_to_another_process(
    pair: Pair, receiver: Receiver
) -> None:
    """P68: a reported fault (soketi#684)."""
    here, there = pair
    page, _ = here.member(ROOM, "ann")
    wait_until(lambda: events(receiver, "member_added", ROOM) == 1, "Ann is told")
    page.close()
    there.member(ROOM, "ann")
    leaves_marker(here, receiver)
    assert names(receiver, ROOM) == ["channel_occupied", "member_added"]


@pytest.mark.parametrize("end", [Process.kill, Process.stop], ids=["killed", "stopped"])
def test_when_the_leader_ends_the_other_process_sends_the_webhooks_of_its_clients(
    pair: Pair, receiver: Receiver, end: Callable[[Process], None]
) -> None:
    leader, other = pair
    leader.member(ROOM, "ann")
    other.member(ROOM, "bob")
    wait_until(lambda: events(receiver, "member_added", ROOM) >= 2, "both are told")
    end(leader)
    wait_until(lambda: events(receiver, "member_removed", ROOM, "ann") >= 1, "Ann is told to have left", 60)
    leaves_marker(other, receiver)
    assert events(receiver, "channel_vacated", ROOM) == events(receiver, "member_removed", ROOM, "bob") == 0
