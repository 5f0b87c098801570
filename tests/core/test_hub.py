"""The hub: whom an envelope concerns, and nobody else."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telltale.core import reasons
from telltale.core.connection import Connection
from telltale.core.hub import Hub
from telltale.core.policy import ConnectionPolicy, Grant
from telltale.core.snapshot import Snapshot
from telltale.core.states import State
from telltale.core.wire import Envelope, Event

ADA, GRACE = "user:1", "user:2"


def follower(*topics: str, **more: Any) -> Connection:
    connection = Connection(opened_at=0.0, **more)
    connection.admit(Grant(topics=frozenset(topics), expires_at=300.0), now=0.0)
    return connection


def envelope(*topics: str, task: str = "a", seq: int = 1) -> Envelope:
    return Envelope(topics=topics, snapshot=Snapshot(id=task, attempt=1, seq=seq, state=State.RUNNING))


def said(number: int) -> Envelope:
    return Envelope(topics=(ADA,), event=Event(topic=ADA, name="line", data=number))


def live(hub: Hub, *topics: str) -> Connection:
    """A follower that has been greeted, at 0."""
    connection = follower(*topics, frame_numbers=hub.frame_numbers)
    hub.attach(connection)
    connection.catch_up([])
    while connection.take(0.0) is not None:
        pass
    return connection


def turn(hub: Hub, now: float, limit: int = 500) -> list[tuple[list[int], set[Connection]]]:
    """What is written: the snapshots' seqs (or the events' data) of each frame, and to whom."""
    told = []
    for text, connections in hub.take(now, limit=limit):
        message = json.loads(text) if text else {}
        news = [task["seq"] for task in message.get("tasks", [])] + [e["data"] for e in message.get("events", [])]
        told.append((news, set(connections)))
    return told


# Whom it concerns --------------------------------------------------------------------------------


def test_an_envelope_reaches_all_who_follow_one_of_its_topics_and_nobody_else() -> None:
    hub = Hub()
    ada, _grace, both = live(hub, ADA), live(hub, GRACE), live(hub, ADA, "task:a")
    hub.receive([envelope("task:a", ADA)], now=1.0)
    assert turn(hub, 1.0) == [([1], {ada, both})]


def test_an_envelope_without_topics_concerns_nobody() -> None:
    hub = Hub()
    live(hub, ADA)
    hub.receive([envelope()], now=1.0)
    assert turn(hub, 1.0) == []


def test_who_left_hears_no_more_and_leaving_twice_is_harmless() -> None:
    hub = Hub()
    ada = live(hub, ADA)
    hub.detach(ada)
    hub.detach(ada)
    hub.receive([envelope(ADA)], now=1.0)
    assert turn(hub, 1.0) == []
    assert hub.connections == ()


def test_a_renewed_ticket_changes_what_is_heard() -> None:
    hub = Hub()
    ada = live(hub, ADA, "task:a")
    ada.admit(Grant(topics=frozenset({ADA, "task:b"}), expires_at=600.0), now=200.0)
    hub.attach(ada)
    hub.receive([envelope("task:a"), envelope("task:b", task="b", seq=2)], now=200.0)
    assert turn(hub, 200.0) == [([2], {ada})]
    assert hub.connections == (ada,)


# One frame for many ------------------------------------------------------------------------------


def test_one_frame_serves_all_who_are_ready() -> None:
    hub = Hub()
    many = {live(hub, ADA) for _ in range(20)}
    hub.receive([envelope(ADA)], now=1.0)
    assert turn(hub, 1.0) == [([1], many)]


def test_who_is_not_ready_has_it_waiting_and_gets_the_newest_in_its_turn() -> None:
    hub = Hub()
    quick, slow = live(hub, ADA), live(hub, ADA)
    slow.block(0.5)
    hub.receive([envelope(ADA, seq=1)], now=1.0)
    assert turn(hub, 1.0) == [([1], {quick})]
    hub.receive([envelope(ADA, seq=2)], now=2.0)
    assert turn(hub, 2.0) == [([2], {quick})]
    slow.unblock(3.0)
    hub.wake(slow)
    assert turn(hub, 3.0) == [([2], {slow})]


def test_a_thousand_changes_of_a_task_cost_each_follower_the_frames_of_ten_a_second() -> None:
    hub = Hub()
    ada, frames = live(hub, ADA), []
    for number in range(1_000):
        now = 1.0 + number / 1_000
        hub.receive([envelope(ADA, seq=number)], now=now)
        frames += turn(hub, now)
    frames += turn(hub, 2.1)
    assert len(frames) in {10, 11}
    assert frames[-1] == ([999], {ada})


def test_the_first_goes_at_once_and_the_last_before_silence_arrives() -> None:
    hub = Hub()
    ada = live(hub, ADA)
    hub.receive([envelope(ADA, seq=1)], now=1.0)
    hub.receive([envelope(ADA, seq=2), envelope(ADA, seq=3)], now=1.01)
    assert turn(hub, 1.01) == [([1], {ada})]
    assert hub.wake_at == pytest.approx(1.1)
    assert turn(hub, 1.12) == [([3], {ada})]


def test_what_is_pending_for_a_connection_goes_in_one_frame() -> None:
    hub = Hub()
    ada = live(hub, ADA)
    hub.receive([envelope(ADA, task=task, seq=seq) for seq, task in enumerate("abcd", 1)], now=1.0)
    assert turn(hub, 1.0) == [([1], {ada})]
    assert turn(hub, 1.11) == [([2, 3, 4], {ada})]
    assert hub.wake_at is None


def test_events_keep_their_order_through_the_tick() -> None:
    hub = Hub()
    ada = live(hub, ADA)
    hub.receive([said(number) for number in range(4)], now=1.0)
    assert [news for news, _ in [*turn(hub, 1.0), *turn(hub, 1.11)]] == [[0], [1, 2, 3]]
    assert ada.closed is None


def test_a_turn_serves_a_slice_and_says_that_there_is_more() -> None:
    hub = Hub()
    many = {live(hub, ADA) for _ in range(25)}
    hub.receive([envelope(ADA)], now=1.0)
    slices = []
    while hub.wake_at is not None:
        slices += turn(hub, 1.0, limit=10)
    assert [len(to) for _, to in slices] == [10, 10, 5]
    assert set().union(*(to for _, to in slices)) == many


def test_who_is_served_last_is_free_for_the_next_tick_as_soon_as_who_is_served_first() -> None:
    hub = Hub()
    many = [live(hub, ADA) for _ in range(20)]
    hub.receive([envelope(ADA, seq=1)], now=1.0)
    assert sum(len(to) for late_s in (0.0, 0.04) for _, to in turn(hub, 1.0 + late_s, limit=10)) == 20
    hub.receive([envelope(ADA, seq=2)], now=1.05)
    assert turn(hub, 1.101) == [([2], set(many))], "one frame for all of them"


def test_a_follower_that_is_closed_on_the_way_is_named() -> None:
    hub = Hub()
    connection = follower(ADA, policy=ConnectionPolicy(max_queue=1), frame_numbers=hub.frame_numbers)
    hub.attach(connection)
    hub.receive([said(1), said(2)], now=1.0)
    assert turn(hub, 1.0) == [([], {connection})]
    assert connection.closed is reasons.RESYNC


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 9), st.booleans(), st.floats(0, 0.2)), max_size=40))
def test_whatever_comes_when_nobody_sees_a_task_go_back_and_all_end_at_the_newest(
    news: list[tuple[str, int, bool, float]],
) -> None:
    hub, now = Hub(), 1.0
    seen: dict[Connection, dict[str, list[int]]] = {live(hub, ADA): {} for _ in range(3)}
    shaky = next(iter(seen))
    for task, seq, is_blocked, later_s in news:
        now += later_s
        if is_blocked:
            shaky.block(now)
        else:
            shaky.unblock(now)
            hub.wake(shaky)
        hub.receive([envelope(ADA, task=task, seq=seq)], now=now)
        _note(hub, seen, now)
    shaky.unblock(now)
    hub.wake(shaky)
    for later_s in (0.2, 0.4, 0.6):
        _note(hub, seen, now + later_s)
    for tasks in seen.values():
        assert all(seqs == sorted(set(seqs)) for seqs in tasks.values())
        assert {task: seqs[-1] for task, seqs in tasks.items()} == {
            task: max(seq for name, seq, *_ in news if name == task) for task, *_ in news
        }


def _note(hub: Hub, seen: dict[Connection, dict[str, list[int]]], now: float) -> None:
    for text, connections in hub.take(now):
        for task in json.loads(text)["tasks"]:
            for connection in connections:
                seen[connection].setdefault(task["id"], []).append(task["seq"])


# What is followed --------------------------------------------------------------------------------


def test_the_topics_to_re_read_are_those_that_somebody_follows_now() -> None:
    hub, ada, grace = Hub(), follower(ADA, "project:7"), follower(GRACE, "project:7")
    hub.attach(ada)
    hub.attach(grace)
    assert hub.topics == {ADA, GRACE, "project:7"}
    hub.detach(ada)
    assert hub.topics == {GRACE, "project:7"}
    hub.detach(grace)
    assert hub.topics == frozenset()


def test_a_connection_is_attached_only_with_a_ticket() -> None:
    with pytest.raises(AssertionError, match="admit"):
        Hub().attach(Connection(opened_at=0.0))
