"""What processes tell each other about their clients: how much, how large, and what they do with losses and silence."""

import json
from typing import Any

import pytest

from telltale.brokers.delivery import MESSAGE_BYTES
from telltale.pusher.protocol.user_data import Member
from telltale.pusher.server.membership.changes import (
    Change,
    ChannelOccupied,
    ChannelVacated,
    CountChanged,
    MemberAdded,
    MemberRemoved,
    UserOffline,
    UserOnline,
)
from telltale.pusher.server.membership.entries import MalformedReport
from telltale.pusher.server.membership.membership import SETTLE_S, Membership
from telltale.pusher.server.membership.peers import EXPIRY_S, HEARTBEAT_S
from tests.pusher.server.site_world import TURN_S, SimulatedProcess, World

ROOM = "presence-room"


@pytest.fixture
def world() -> World:
    """Two processes that know each other."""
    world = World(seed=1, processes=2)
    world.passes(2 * SETTLE_S)
    return world


@pytest.fixture
def pair(world: World) -> list[SimulatedProcess]:
    return list(world.processes.values())


def member(user_id: str, **info: str) -> Member:
    return Member(user_id=user_id, user_info=info)


def exchange(sender: Membership, receiver: Membership, now: float = 0.0) -> list[Change]:
    """Hand over what is due, and return the receiver's changes."""
    return [change for message in sender.take_messages(now) for change in receiver.receive(message, now)]


# Changes ------------------------------------------------------------------------------------------


def test_a_first_subscriber_occupies_a_channel_and_the_last_vacates_it() -> None:
    site = Membership("a")
    count = lambda number: CountChanged(app_id="1", channel="news", subscription_count=number)  # noqa: E731
    assert site.join("1", "news", None) == [ChannelOccupied(app_id="1", channel="news"), count(1)]
    assert site.join("1", "news", None) == [count(2)]
    assert site.leave("1", "news", None) == [count(1)]
    assert site.leave("1", "news", None) == [count(0), ChannelVacated(app_id="1", channel="news")]
    assert site.leave("1", "news", None) == []


def test_a_user_is_a_member_from_the_first_connection_to_the_last() -> None:
    """P28."""
    site = Membership("a")
    added = MemberAdded(app_id="1", channel=ROOM, user_id="ann", user_info={"name": "Ann"})
    assert site.join("1", ROOM, member("ann", name="Ann")) == [ChannelOccupied(app_id="1", channel=ROOM), added]
    assert site.join("1", ROOM, member("ann", name="Other")) == []
    assert site.members("1", ROOM) == {"ann": {"name": "Ann"}}
    assert site.leave("1", ROOM, "ann") == []
    removed = MemberRemoved(app_id="1", channel=ROOM, user_id="ann")
    assert site.leave("1", ROOM, "ann") == [removed, ChannelVacated(app_id="1", channel=ROOM)]


def test_a_user_is_online_from_the_first_sign_in_to_the_last() -> None:
    """P49."""
    site = Membership("a")
    assert site.sign_in("1", "ann") == [UserOnline(app_id="1", user_id="ann")]
    assert site.sign_in("1", "ann") == site.sign_out("1", "ann") == []
    assert site.is_online("1", "ann")
    assert site.sign_out("1", "ann") == [UserOffline(app_id="1", user_id="ann")]
    assert not site.is_online("1", "ann")


def test_a_user_of_two_processes_leaves_with_the_last_connection_at_both() -> None:
    here, there = Membership("a"), Membership("b")
    here.join("1", ROOM, member("ann"))
    there.join("1", ROOM, member("ann"))
    assert exchange(there, here) == []
    assert here.leave("1", ROOM, "ann") == []
    there.leave("1", ROOM, "ann")
    assert [type(change) for change in exchange(there, here, 1.0)] == [MemberRemoved, ChannelVacated]


def test_apps_do_not_see_each_other() -> None:
    site = Membership("a")
    site.join("1", "news", None)
    site.join("1", ROOM, member("ann"))
    site.sign_in("1", "ann")
    assert site.channels("2") == []
    assert site.members("2", ROOM) == {}
    assert not site.is_occupied("2", "news")
    assert not site.is_online("2", "ann")


def test_channels_are_listed_by_prefix() -> None:
    """P61."""
    site = Membership("a")
    for name in ("news", "news-local", "sport"):
        site.join("1", name, None)
    site.join("1", ROOM, member("ann"))
    assert sorted(site.channels("1", "news")) == ["news", "news-local"]
    assert site.channels("1", "presence-") == [ROOM]


# Messages -----------------------------------------------------------------------------------------


def test_many_joins_before_the_next_message_are_one_short_entry_for_each_channel() -> None:
    here, there = Membership("a"), Membership("b")
    here.take_messages(0.0)
    for _ in range(10_000):
        here.join("1", "news", None)
    [message] = here.take_messages(1.0)
    assert len(message) < 200
    there.receive(message, 1.0)
    assert there.subscription_count("1", "news") == 10_000


def test_messages_fit_a_brokers_message_and_come_in_a_bounded_number_at_a_time() -> None:
    here, there = Membership("a"), Membership("b")
    for number in range(5_000):
        here.join("1", ROOM, member(f"user-{number}", name="x" * 900))
    while messages := [message for message in here.take_messages(0.0) if '"beat"' not in message]:
        assert sum(map(len, messages)) < 50_000
        for message in messages:
            assert len(message) < MESSAGE_BYTES
            there.receive(message, 0.0)
    assert there.user_count("1", ROOM) == 5_000


def test_a_client_that_came_and_went_between_two_messages_is_told() -> None:
    """So webhooks tell it, in whichever process it was."""
    here, there = Membership("a"), Membership("b")
    here.join("1", ROOM, member("ann"))
    here.leave("1", ROOM, "ann")
    kinds = [type(change) for change in exchange(here, there)]
    assert kinds == [ChannelOccupied, MemberAdded, MemberRemoved, ChannelVacated]


def test_a_client_that_went_and_came_back_between_two_messages_is_not_told() -> None:
    here, there = Membership("a"), Membership("b")
    here.join("1", ROOM, member("ann"))
    exchange(here, there)
    here.leave("1", ROOM, "ann")
    here.join("1", ROOM, member("ann"))
    assert exchange(here, there, 1.0) == []


def test_text_that_is_no_valid_unicode_travels() -> None:
    here, there = Membership("a"), Membership("b")
    here.join("1", ROOM, member("\ud800", name="\udfff"))
    exchange(here, there)
    assert there.members("1", ROOM) == {"\ud800": {"name": "\udfff"}}


def test_a_lost_last_change_is_found_by_the_next_heartbeat(world: World, pair: list[SimulatedProcess]) -> None:
    here, there = pair
    world.loss = 1.0
    here.join("1", ROOM, "ann")
    world.passes(2 * TURN_S)
    world.loss = 0.0
    world.passes(HEARTBEAT_S + 1.0)
    assert there.view.members("1", ROOM).keys() == {"ann"}


def test_only_what_differs_is_sent_again() -> None:
    here, there = Membership("a"), Membership("b")
    for number in range(2_000):
        here.join("1", ROOM, member(f"user-{number}"))
    while exchange(here, there):
        pass
    here.join("1", ROOM, member("ann"))
    assert len(here.take_messages(1.0)) == 1  # It is lost.
    exchange(here, there, 10.0)
    exchange(there, here, 11.0)
    [answer] = here.take_messages(12.0)
    assert [change.user_id for change in there.receive(answer, 12.0) if isinstance(change, MemberAdded)] == ["ann"]
    assert len(answer) < 2_000
    assert [message for message in there.take_messages(13.0) if '"ask"' in message] == []


def test_messages_that_only_overtake_each_other_are_not_asked_for_again() -> None:
    here, there = Membership("a"), Membership("b")
    exchange(here, there)
    exchange(there, here)
    deltas = []
    for number in range(5):
        here.join("1", f"channel-{number}", None)
        deltas += here.take_messages(1.0)
    for delta in reversed(deltas):
        there.receive(delta, 1.0)
    assert [message for message in there.take_messages(10.0) if '"ask"' in message] == []
    assert len(there.channels("1")) == 5


def test_an_idle_process_sends_heartbeats_alone(world: World, pair: list[SimulatedProcess]) -> None:
    before = world.messages_sent[pair[0].name]
    world.passes(10 * HEARTBEAT_S)
    assert 8 <= world.messages_sent[pair[0].name] - before <= 12


@pytest.mark.parametrize(
    "change",
    [
        {"k": None},
        {"n": "1"},
        {"t": None},
        {"r": "first"},
        {"p": 7},
        {"b": []},
        {"b": {"999": [0, []]}},
        {"b": {"1": [0, [["c", "1", "news", "", "many"]]]}},
        {"b": {"1": [0, [["c", "1", "news", "", -1]]]}},
        {"b": {"1": [0, [["c", "1", "news"]]]}},
        {"b": {"1": [0, [["c", "1", "news", "", 1], ["m", 1, "x", "y"]]]}},
    ],
)
def test_a_malformed_message_is_refused_and_changes_nothing(change: dict[str, Any]) -> None:
    here, there = Membership("a"), Membership("b")
    here.join("1", "news", None)
    [delta, *_] = here.take_messages(0.0)
    try:
        changes = there.receive(json.dumps(json.loads(delta) | change), 0.0)
    except MalformedReport:
        changes = []
    assert changes == []
    assert there.channels("1") == []
    there.receive(delta, 0.0)
    assert there.channels("1") == ["news"]


@pytest.mark.parametrize("text", ["", "[]", "null", "{", '{"p":"x"}', "[" * 100_000])
def test_what_is_no_report_is_refused(text: str) -> None:
    with pytest.raises(MalformedReport):
        Membership("a").receive(text, 0.0)


# Silence and death --------------------------------------------------------------------------------


def test_a_killed_process_is_dropped_with_all_its_clients(world: World, pair: list[SimulatedProcess]) -> None:
    here, there = pair
    there.join("1", ROOM, "bob")
    there.sign_in("1", "bob")
    world.passes(1.0)
    world.kill(there)
    world.passes(EXPIRY_S - 1.0)
    assert here.view.members("1", ROOM).keys() == {"bob"}
    world.passes(HEARTBEAT_S + 2.0)
    assert here.view.channels("1") == []
    assert not here.view.is_online("1", "bob")
    assert here.view.processes == []


def test_a_process_that_says_goodbye_is_dropped_at_once(world: World, pair: list[SimulatedProcess]) -> None:
    here, there = pair
    there.join("1", ROOM, "bob")
    world.passes(1.0)
    world.stop(there)
    world.passes(2 * TURN_S)
    assert here.view.channels("1") == []
    assert here.view.processes == []


def test_a_late_message_of_a_process_that_left_does_not_bring_it_back() -> None:
    here, there = Membership("a"), Membership("b")
    there.join("1", "news", None)
    late = there.take_messages(0.0)
    here.receive(there.goodbye(), 0.0)
    for message in late:
        assert here.receive(message, 1.0) == []
    assert there.take_messages(9.0) == []


def test_while_the_broker_fails_nobody_is_taken_for_dead(world: World, pair: list[SimulatedProcess]) -> None:
    """Also not in the moment when it works again."""
    here, there = pair
    here.join("1", ROOM, "ann")
    there.join("1", ROOM, "bob")
    world.passes(1.0)
    world.is_broker_down = True
    world.passes(10 * EXPIRY_S)
    world.is_broker_down = False
    for _ in range(int(2 * EXPIRY_S / TURN_S)):
        world.turn()
        assert here.view.members("1", ROOM).keys() == there.view.members("1", ROOM).keys() == {"ann", "bob"}


def test_a_process_that_was_suspended_comes_back(world: World, pair: list[SimulatedProcess]) -> None:
    """The others dropped it, and it has dropped no one."""
    here, there = pair
    here.join("1", ROOM, "ann")
    there.join("1", ROOM, "bob")
    world.passes(1.0)
    del world.processes[there.name]
    world.passes(2 * EXPIRY_S)
    assert here.view.members("1", ROOM).keys() == {"ann"}
    world.processes[there.name] = there
    for _ in range(int(HEARTBEAT_S / TURN_S)):
        world.turn()
        assert there.view.members("1", ROOM).keys() == {"ann", "bob"}
    world.passes(2.0)
    assert here.view.members("1", ROOM).keys() == {"ann", "bob"}


def test_a_large_process_is_dropped_in_parts() -> None:
    """So that its end does not stall the event loop of another."""
    here, there = Membership("a"), Membership("b")
    for number in range(10_000):
        there.join("1", ROOM, member(str(number)))
    while exchange(there, here):
        pass
    here.receive(there.goodbye(), 0.0)
    steps = []
    while changes := here.expire(1.0):
        steps.append(len(changes))
    assert sum(steps) == 10_001
    assert max(steps) < 1_500
    assert here.processes == []


# The leader ---------------------------------------------------------------------------------------


def test_the_leader_is_the_process_that_started_first_whatever_its_id(world: World) -> None:
    first, second = sorted(world.processes)
    assert {process.view.leader for process in world.processes.values()} == {first}
    younger = SimulatedProcess("a-smaller-id")
    world.processes[younger.name] = younger
    world.passes(2 * SETTLE_S)
    assert {process.view.leader for process in world.processes.values()} == {first}
    world.kill(world.processes[first])
    world.passes(EXPIRY_S + HEARTBEAT_S + 1.0)
    assert {process.view.leader for process in world.processes.values()} == {second}
    assert world.processes[second].view.is_leader
    assert world.processes[second].view.leader_heard_at is None


def test_others_know_when_the_leader_was_heard(world: World, pair: list[SimulatedProcess]) -> None:
    leader, other = pair
    assert other.view.leader == leader.name
    world.kill(leader)
    before = other.view.leader_heard_at
    assert before is not None
    assert world.now - before <= HEARTBEAT_S + 1.0
    world.passes(2.0)
    assert other.view.leader_heard_at == before


def test_a_process_does_not_lead_before_the_others_could_tell_that_they_do() -> None:
    site = Membership("a")
    site.take_messages(0.0)
    assert not site.is_leader
    site.take_messages(SETTLE_S)
    assert site.is_leader
    assert Membership("b", is_alone=True).is_leader
