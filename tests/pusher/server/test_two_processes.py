"""Two real processes of the stand-in over Redis are one server to clients and to the HTTP API.

`here` and `there` are the two processes. Faults that users of other self-hosted servers report have a test each.
"""

import json
import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Literal

import pytest

from tests.pusher.clients.apps import App
from tests.pusher.clients.raw import RawClient
from tests.pusher.server.site_processes import MakeProcess, Process, processes
from tests.servers import Redis, running
from tests.transports.sites import wait_until

pytestmark = [pytest.mark.service, pytest.mark.timeout(180)]

ROOM = "presence-room"
ADDED, REMOVED = "pusher_internal:member_added", "pusher_internal:member_removed"

Pair = tuple[Process, Process]


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    with running(Redis) as server:
        yield server


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, redis: Redis) -> Iterator[Pair]:
    """Two processes that tests share, so each test has channels of its own."""
    with processes(tmp_path_factory.mktemp("pair"), App.number(1), redis.url) as make_process:
        yield make_process(), make_process()


@pytest.fixture
def make_process(tmp_path: Path, redis: Redis) -> Iterator[MakeProcess]:
    """Starts processes of another site, which the test may end."""
    with processes(tmp_path, App.number(2), redis.url) as make_process:
        yield make_process


@pytest.fixture
def channel(request: pytest.FixtureRequest) -> str:
    return str(request.node.name)


@pytest.fixture
def room(channel: str) -> str:
    return f"presence-{channel}"


# Events -------------------------------------------------------------------------------------------


def test_events_of_one_process_reach_the_subscribers_of_the_other_in_order(pair: Pair, channel: str) -> None:
    """P16."""
    here, there = pair
    clients = [here.subscriber(channel), there.subscriber(channel)]
    for number in range(50):
        here.api.publish("e", channel, str(number))
    for client in clients:
        assert [client.expect("e")["data"] for _ in range(50)] == [str(number) for number in range(50)]


def test_an_event_published_after_a_subscription_succeeded_is_not_missed(pair: Pair, channel: str) -> None:
    here, there = pair
    for number in range(30):
        remote = there.subscriber(f"{channel}-{number}")
        here.api.publish("e", f"{channel}-{number}", "x")
        remote.expect("e")


def test_an_event_larger_than_a_brokers_message_reaches_the_other_process(pair: Pair, channel: str) -> None:
    here, there = pair
    remote = there.subscriber(channel)
    data = "ё" * 5_000  # 10,000 bytes, and 30,000 in a message.
    here.api.publish("e", channel, data)
    assert remote.expect("e")["data"] == data


def test_the_same_event_twice_arrives_twice(pair: Pair, channel: str) -> None:
    here, there = pair
    remote = there.subscriber(channel)
    here.api.post("batch_events", {"batch": [{"name": "e", "channel": channel, "data": "x"}] * 10})
    for _ in range(10):
        remote.expect("e")


def test_a_connection_at_the_other_process_is_excluded_by_its_socket_id(pair: Pair, channel: str) -> None:
    """P55."""
    here, there = pair
    excluded, other = there.subscriber(channel), there.subscriber(channel)
    here.api.publish("e", channel, "1", socket_id=excluded.socket_id)
    here.api.publish("e", channel, "2")
    assert [other.expect("e")["data"] for _ in range(2)] == ["1", "2"]
    assert excluded.expect("e")["data"] == "2"


def test_client_events_reach_the_members_at_the_other_process(pair: Pair, room: str) -> None:
    """P37, P39."""
    here, there = pair
    sender, _ = here.member(room, "ann")
    receiver, _ = there.member(room, "bob")
    sender.send("client-typing", {"is": True}, channel=room)
    message = receiver.until("client-typing")
    assert (message["data"], message["user_id"]) == ({"is": True}, "ann")


# Members and counts -------------------------------------------------------------------------------


def test_members_are_right_across_servers(pair: Pair, room: str) -> None:
    """P27, P28: wrong members across servers are a reported fault (reverb#273)."""
    here, there = pair
    ann, _ = here.member(room, "ann")
    wait_until(lambda: there.users(room) == {"ann"}, "the other process knows of Ann")
    bob, told = there.member(room, "bob")
    assert told == {"ann", "bob"}
    assert user_of(ann.expect(ADDED)) == "bob"
    # A second connection of Ann's, at the other process, is no new member. She leaves with her last connection.
    second, _ = there.member(room, "ann")
    ann.send("pusher:unsubscribe", {"channel": room})
    wait_until(lambda: here.users(room) == there.users(room) == {"ann", "bob"}, "Ann is still a member")
    bob.expect_silence()
    second.close()
    assert user_of(bob.expect(REMOVED)) == "ann"
    wait_until(lambda: here.users(room) == there.users(room) == {"bob"}, "both processes know that Ann has left")


def test_numbers_of_subscribers_are_right_at_either_process(pair: Pair, channel: str) -> None:
    """P61, P62."""
    clients = [process.subscriber(channel) for process in (pair[0], *pair)]
    wait_until(lambda: all(p.info(channel).get("subscription_count") == 3 for p in pair), "all are counted everywhere")
    for process in pair:
        assert process.api.get("channels", filter_by_prefix=channel).json() == {"channels": {channel: {}}}
    for client in clients:
        client.close()
    wait_until(lambda: not any(p.info(channel)["occupied"] for p in pair), "the channel is vacated everywhere")


def test_a_new_process_knows_the_members_of_the_others(make_process: MakeProcess) -> None:
    here = make_process()
    members = [here.member(ROOM, f"user-{number}") for number in range(30)]
    there = make_process()
    wait_until(lambda: len(there.users(ROOM)) == len(members), "the new process knows all members")


def test_after_a_storm_of_joins_and_leaves_all_processes_know_the_same(make_process: MakeProcess) -> None:
    chance = random.Random(1)
    site = [make_process() for _ in range(3)]
    present: list[tuple[Process, str, str, RawClient]] = []
    for number in range(150):
        if present and chance.random() < 0.4:
            client = present.pop(chance.randrange(len(present)))[-1]
            (client.close if chance.random() < 0.5 else client.vanish)()
        else:
            process, room, user = chance.choice(site), f"presence-{chance.randrange(3)}", f"user-{chance.randrange(8)}"
            present.append((process, room, user, process.member(room, user)[0]))
        if number == 100:
            killed = site.pop()
            killed.kill()
            present = [client for client in present if client[0] is not killed]
            site.append(make_process())
    truth = {room: {user for _, at, user, _ in present if at == room} for room in [f"presence-{n}" for n in range(3)]}
    for process in site:
        wait_until(partial(knows, process, truth), "the process knows the truth", 60)


def knows(process: Process, members: dict[str, set[str]]) -> bool:
    return {room: process.users(room) for room in members} == members


def test_members_of_a_killed_process_are_removed(make_process: MakeProcess) -> None:
    here, there = make_process(), make_process()
    ann, _ = here.member(ROOM, "ann")
    there.member(ROOM, "bob")
    ann.expect(ADDED)
    there.subscriber("news")
    wait_until(lambda: here.info("news")["occupied"], "the subscriber is known")
    there.kill()
    assert user_of(ann.expect(REMOVED)) == "bob"  # A client waits for 30 s.
    assert here.users(ROOM) == {"ann"}
    wait_until(lambda: not here.info("news")["occupied"], "the channel is vacated")


def test_members_of_a_process_that_stops_are_removed(make_process: MakeProcess) -> None:
    here, there = make_process(), make_process()
    ann, _ = here.member(ROOM, "ann")
    there.member(ROOM, "bob")
    ann.expect(ADDED)
    there.stop()
    ann.expect(REMOVED)
    assert here.users(ROOM) == {"ann"}


def test_members_stay_while_the_broker_is_away(make_process: MakeProcess, redis: Redis) -> None:
    """Silence because of the broker is no reason to take a process for dead."""
    here, there = make_process(), make_process()
    ann, _ = here.member(ROOM, "ann")
    there.member(ROOM, "bob")
    ann.expect(ADDED)
    redis.stop()
    try:
        late, told = here.member(ROOM, "eve")
        assert told == {"ann", "bob", "eve"}
        ann.expect(ADDED)
        here.api.publish("e", ROOM, "x")
        for client in (ann, late):
            client.expect("e")
    finally:
        redis.start()
    wait_until(lambda: there.users(ROOM) == {"ann", "bob", "eve"}, "the other process hears what it missed")
    ann.expect_silence()


# Cache channels, users ----------------------------------------------------------------------------


@pytest.mark.parametrize("ends", ["stop", "kill"])
def test_any_process_sends_the_last_event_of_a_cache_channel(
    make_process: MakeProcess, ends: Literal["stop", "kill"]
) -> None:
    """P30, P62: also a process that starts later, and when the process that received the event is gone."""
    here, there = make_process(), make_process()
    for data in ("1", "2"):
        here.api.publish("e", "cache-prices", data)
    wait_until(lambda: cached(there) == "2", "the event is known to the other process")
    assert there.subscriber("cache-prices").expect("e")["data"] == "2"
    here.stop() if ends == "stop" else here.kill()
    third = make_process()
    wait_until(lambda: cached(third) == "2", "the event is known to a new process")
    assert third.subscriber("cache-prices").expect("e")["data"] == "2"


def test_terminating_a_users_connections_reaches_the_other_process(pair: Pair) -> None:
    """P47."""
    here, there = pair
    remote, other = there.signed_in("terminated"), there.signed_in("other")
    assert here.api.post("users/terminated/terminate_connections", {}).status_code == 200
    assert 4000 <= remote.closing()[0] < 4100
    other.expect_silence()


def test_events_to_a_user_and_watchlists_reach_the_other_process(pair: Pair) -> None:
    """P46, P49."""
    here, there = pair
    watcher = there.signed_in("bob", watchlist=["ann"])
    assert status(watcher.until("pusher_internal:watchlist_events")) == [("offline", ["ann"])]
    ann = here.signed_in("ann")
    assert status(watcher.until("pusher_internal:watchlist_events")) == [("online", ["ann"])]
    ann.subscribe("#server-to-user-ann")
    there.api.publish("hello", "#server-to-user-ann", "x")
    assert ann.until("hello")["data"] == "x"
    ann.close()
    assert status(watcher.until("pusher_internal:watchlist_events")) == [("offline", ["ann"])]


def user_of(message: dict[str, str]) -> str:
    return str(json.loads(message["data"])["user_id"])


def status(message: dict[str, str]) -> list[tuple[str, list[str]]]:
    return [(change["name"], change["user_ids"]) for change in json.loads(message["data"])["events"]]


def cached(process: Process) -> str | None:
    """Return the data of the cache channel's last event, as this process knows it."""
    event = process.info("cache-prices", "cache")["cache"]
    return None if event is None else str(event["data"])
