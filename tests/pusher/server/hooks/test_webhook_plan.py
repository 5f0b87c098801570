"""Which changes become webhook events, when, and from which process."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telltale.pusher.pusher_apps import PusherApp
from telltale.pusher.server.hooks.events import HookEvent
from telltale.pusher.server.hooks.webhook_plan import COUNT_EVERY_S, KEPT_EVENTS, LEADER_SENDS_S, WebhookPlan
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

APP = PusherApp(id="1", key="k1", secret="s1")
OTHER_APP = PusherApp(id="2", key="k2", secret="s2", webhook_settle_s=60.0)
COUNTING_APP = PusherApp(id="3", key="k3", secret="s3", has_subscription_counts=True)
SETTLE_S = APP.webhook_settle_s


def occupied(channel: str = "room", app: PusherApp = APP) -> ChannelOccupied:
    return ChannelOccupied(app_id=app.id, channel=channel)


def vacated(channel: str = "room", app: PusherApp = APP) -> ChannelVacated:
    return ChannelVacated(app_id=app.id, channel=channel)


def added(user_id: str, channel: str = "presence-room") -> MemberAdded:
    return MemberAdded(app_id=APP.id, channel=channel, user_id=user_id, user_info={"name": user_id})


def removed(user_id: str, channel: str = "presence-room") -> MemberRemoved:
    return MemberRemoved(app_id=APP.id, channel=channel, user_id=user_id)


def counted(number: int) -> CountChanged:
    return CountChanged(app_id=COUNTING_APP.id, channel="room", subscription_count=number)


def named(events: Iterable[HookEvent]) -> list[tuple[str, str | None]]:
    return [(event.name, event.user_id or event.channel) for event in events]


class Process:
    """A plan, with whether its process leads."""

    def __init__(self, *, is_leader: bool = True) -> None:
        self.plan, self.is_leader = WebhookPlan(), is_leader
        self.leader_heard_at: float | None = None

    def at(self, now: float, *changes: Change, app: PusherApp = APP) -> list[tuple[str, str | None]]:
        """Add the changes; return what is sent, and the member's id or the channel of each."""
        self.plan.add(app, changes, now)
        return named(self.plan.take(now, is_leader=self.is_leader, leader_heard_at=self.leader_heard_at))


def test_what_came_is_sent_at_once_and_in_order() -> None:
    """P67."""
    sent = Process().at(0.0, occupied("presence-room"), added("ada"), added("bob"))
    assert sent == [("channel_occupied", "presence-room"), ("member_added", "ada"), ("member_added", "bob")]


def test_what_left_is_sent_when_the_settling_time_is_over() -> None:
    """P68."""
    process = Process()
    process.at(0.0, occupied("presence-room"), added("ada"))
    assert process.at(10.0, removed("ada"), vacated("presence-room")) == []
    assert process.at(10.0 + SETTLE_S - 0.01) == []
    assert process.at(10.0 + SETTLE_S) == [("member_removed", "ada"), ("channel_vacated", "presence-room")]
    assert process.at(100.0) == []


def test_the_reload_of_a_page_fires_nothing() -> None:
    """P68, soketi#684."""
    process = Process()
    process.at(0.0, occupied("presence-room"), added("ada"))
    assert process.at(10.0, removed("ada"), vacated("presence-room")) == []
    assert process.at(11.0, occupied("presence-room"), added("ada")) == []
    assert process.at(100.0) == []


def test_a_client_that_is_back_after_the_settling_time_left_and_came() -> None:
    process = Process()
    process.at(0.0, occupied())
    process.at(10.0, vacated())
    # The process was busy, so that both are noticed late.
    assert process.at(10.1 + SETTLE_S, occupied()) == [("channel_vacated", "room"), ("channel_occupied", "room")]


def test_one_member_that_is_back_holds_back_no_other_members_leaving() -> None:
    process = Process()
    process.at(0.0, occupied("presence-room"), added("ada"), added("bob"))
    process.at(10.0, removed("ada"), removed("bob"), vacated("presence-room"))
    assert process.at(11.0, occupied("presence-room"), added("bob")) == []
    assert process.at(20.0) == [("member_removed", "ada")]


def test_a_member_left_one_channel_while_back_in_another() -> None:
    process = Process()
    process.at(0.0, added("ada", "presence-a"), added("ada", "presence-b"))
    process.at(10.0, removed("ada", "presence-a"), removed("ada", "presence-b"))
    process.at(11.0, added("ada", "presence-b"))
    process.plan.add(APP, [], 20.0)
    [event] = process.plan.take(20.0, is_leader=True, leader_heard_at=None)
    assert (event.name, event.channel, event.user_id) == ("member_removed", "presence-a", "ada")


def test_each_app_has_its_own_settling_time_and_channels() -> None:
    process = Process()
    process.at(0.0, occupied(app=OTHER_APP), app=OTHER_APP)
    process.at(0.0, occupied())
    process.at(1.0, vacated(app=OTHER_APP), app=OTHER_APP)
    process.at(1.0, vacated())
    assert process.at(1.0 + SETTLE_S) == [("channel_vacated", "room")]
    assert process.at(61.0) == [("channel_vacated", "room")]


def test_an_app_without_a_settling_time_hears_at_once() -> None:
    app = PusherApp(id="1", key="k1", secret="s1", webhook_settle_s=0.0)
    assert Process().at(0.0, occupied(), vacated(), app=app) == [
        ("channel_occupied", "room"),
        ("channel_vacated", "room"),
    ]


def test_users_online_are_no_events() -> None:
    online, offline = UserOnline(app_id=APP.id, user_id="ada"), UserOffline(app_id=APP.id, user_id="ada")
    assert Process().at(0.0, online, offline) == []


# Counts


def test_counts_are_events_of_apps_that_have_them_switched_on() -> None:
    """P31, P67."""
    assert Process().at(0.0, counted(1), app=COUNTING_APP) == [("subscription_count", "room")]
    off = CountChanged(app_id=APP.id, channel="room", subscription_count=1)
    assert Process().at(0.0, off) == []


def test_a_large_channels_count_is_sent_once_in_a_while_and_the_newest_wins() -> None:
    """P31."""
    process = Process()
    assert len(process.at(0.0, counted(99), counted(100), app=COUNTING_APP)) == 2
    assert len(process.at(1.0, *[counted(number) for number in range(101, 500)], app=COUNTING_APP)) == 1
    process.plan.add(COUNTING_APP, [], 1.0 + COUNT_EVERY_S)
    [event] = process.plan.take(1.0 + COUNT_EVERY_S, is_leader=True, leader_heard_at=None)
    assert event.subscription_count == 499
    assert process.at(1.0 + 2 * COUNT_EVERY_S) == []
    assert process.at(50.0, counted(500), app=COUNTING_APP) == [("subscription_count", "room")]


def test_a_channel_that_shrinks_reports_each_count_again() -> None:
    process = Process()
    process.at(0.0, counted(101), counted(102), app=COUNTING_APP)
    assert len(process.at(0.1, counted(100), counted(99), app=COUNTING_APP)) == 2
    assert process.at(10.0) == []


# Several processes


def test_only_the_leader_sends() -> None:
    leader, other = Process(), Process(is_leader=False)
    assert leader.at(0.0, occupied()) == [("channel_occupied", "room")]
    assert other.at(0.0, occupied()) == []


def test_another_process_sends_what_a_dead_leader_did_not() -> None:
    other = Process(is_leader=False)
    other.at(0.0, occupied("a"))
    other.leader_heard_at = 20.0
    other.at(20.0, occupied("b"))  # The leader's last sign of life.
    other.at(21.0, occupied("c"))
    other.is_leader = True
    assert other.at(30.0) == [("channel_occupied", "b"), ("channel_occupied", "c")]
    assert other.at(31.0) == []


def test_a_living_leaders_events_are_not_kept() -> None:
    other = Process(is_leader=False)
    for second in range(100):
        other.leader_heard_at = float(second)
        other.at(float(second), occupied(f"room-{second}"))
    other.is_leader = True
    assert len(other.at(100.0)) == LEADER_SENDS_S


def test_what_left_before_the_leader_died_is_sent_by_the_next_leader() -> None:
    other = Process(is_leader=False)
    other.at(0.0, occupied())
    other.leader_heard_at = 50.0
    other.at(50.0, vacated())
    other.is_leader = True
    assert other.at(51.0) == []
    assert other.at(50.0 + SETTLE_S) == [("channel_vacated", "room")]


def test_what_is_kept_for_a_dead_leader_is_bounded() -> None:
    other = Process(is_leader=False)
    other.at(0.0, *[occupied(f"room-{number}") for number in range(KEPT_EVENTS + 5)])
    other.is_leader = True
    events = other.at(1.0)
    assert (len(events), events[0], other.plan.forgotten) == (KEPT_EVENTS, ("channel_occupied", "room-5"), 5)


def test_many_events_of_a_leader_at_once_are_all_sent() -> None:
    assert len(Process().at(0.0, *[occupied(f"room-{number}") for number in range(KEPT_EVENTS + 5)])) == KEPT_EVENTS + 5


def test_the_last_process_sends_what_waits_when_it_stops() -> None:
    process = Process()
    process.at(0.0, occupied("a"), occupied("b"))
    process.at(1.0, vacated("a"), vacated("b"))
    process.plan.settle_now()
    assert process.at(1.0) == [("channel_vacated", "a"), ("channel_vacated", "b")]


# Properties

Steps = list[tuple[str, str, float]]
steps = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["flip", "wait"]), st.floats(0.0, 5.0)), max_size=60)


def changes_over_time(moves: Steps) -> list[tuple[float, list[Change]]]:
    """Channels become occupied and vacated in turn; then a long quiet time."""
    now, is_occupied = 0.0, dict.fromkeys("abc", False)
    timeline: list[tuple[float, list[Change]]] = []
    for channel, move, pause_s in moves:
        now += pause_s
        if move == "flip":
            is_occupied[channel] = not is_occupied[channel]
        change = occupied(channel) if is_occupied[channel] else vacated(channel)
        timeline.append((now, [change] if move == "flip" else []))
    return [*timeline, (now + 2 * SETTLE_S, [])]


def flips_of(moves: Steps, channel: str) -> int:
    return sum(move == "flip" and of == channel for of, move, _pause_s in moves)


@given(steps)
def test_occupied_and_vacated_alternate_and_end_with_the_truth(moves: Steps) -> None:
    process, timeline = Process(), changes_over_time(moves)
    sent = [event for now, changes in timeline for event in process.at(now, *changes)]
    for channel in "abc":
        names = [name for name, of in sent if of == channel]
        assert names == (["channel_occupied", "channel_vacated"] * len(names))[: len(names)]
        assert (names[-1:] == ["channel_occupied"]) == (flips_of(moves, channel) % 2 == 1)


@given(steps, st.integers(0, 60))
def test_no_event_is_lost_when_the_leader_dies(moves: Steps, death: int) -> None:
    """The leader is heard until it dies; what it and its successor send includes all that one process would send."""
    immortal, leader, successor = Process(), Process(), Process(is_leader=False)
    expected, sent = [], []
    for number, (now, changes) in enumerate(changes_over_time(moves)):
        expected += immortal.at(now, *changes)
        if number < death:
            sent += leader.at(now, *changes)
            successor.leader_heard_at = now
        else:
            successor.is_leader = True
        sent += successor.at(now, *changes)
    assert sorted(set(expected)) == sorted(set(sent))
    assert all(sent.count(event) >= expected.count(event) for event in set(expected))


@pytest.mark.parametrize("number", [0, 1, 7])
def test_the_newest_planned_events_are_a_suffix_of_what_the_leader_sent(number: int) -> None:
    """A successor repeats the end of the leader's events, in the same order: it never mixes them."""
    leader, successor = Process(), Process(is_leader=False)
    changes = [occupied(f"room-{index}") for index in range(number)]
    by_leader = leader.at(0.0, *changes)
    successor.leader_heard_at = 0.0
    successor.at(0.0, *changes)
    successor.is_leader = True
    assert successor.at(0.1) == by_leader
