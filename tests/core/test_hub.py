"""The hub: which connections an envelope reaches, and when."""

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


def event(number: int) -> Envelope:
    return Envelope(topics=(ADA,), event=Event(topic=ADA, name="line", data=number))


def live(hub: Hub, *topics: str) -> Connection:
    """An attached connection that has sent its greeting, at 0."""
    connection = follower(*topics, frame_numbers=hub.frame_numbers)
    hub.attach(connection)
    connection.catch_up([])
    while connection.take(0.0) is not None:
        pass
    return connection


def written(hub: Hub, now: float, limit: int = 500) -> list[tuple[list[int], set[Connection]]]:
    """What is written now: of each frame the seqs of its snapshots and the data of its events, and its recipients."""
    frames = []
    for text, connections in hub.take(now, limit=limit):
        message = json.loads(text) if text else {}
        news = [task["seq"] for task in message.get("tasks", [])] + [e["data"] for e in message.get("events", [])]
        frames.append((news, set(connections)))
    return frames


# Followers ---------------------------------------------------------------------------------------


def test_an_envelope_reaches_the_followers_of_its_topics_and_no_others() -> None:
    hub = Hub()
    ada, _grace, both = live(hub, ADA), live(hub, GRACE), live(hub, ADA, "task:a")
    hub.receive([envelope("task:a", ADA)], now=1.0)
    assert written(hub, 1.0) == [([1], {ada, both})]


def test_an_envelope_without_topics_reaches_no_connection() -> None:
    hub = Hub()
    live(hub, ADA)
    hub.receive([envelope()], now=1.0)
    assert written(hub, 1.0) == []


def test_a_detached_connection_gets_nothing_and_detaching_twice_is_harmless() -> None:
    hub = Hub()
    ada = live(hub, ADA)
    hub.detach(ada)
    hub.detach(ada)
    hub.receive([envelope(ADA)], now=1.0)
    assert written(hub, 1.0) == []
    assert hub.connections == ()


def test_a_renewed_ticket_changes_which_envelopes_reach_the_connection() -> None:
    hub = Hub()
    ada = live(hub, ADA, "task:a")
    ada.admit(Grant(topics=frozenset({ADA, "task:b"}), expires_at=600.0), now=200.0)
    hub.attach(ada)
    hub.receive([envelope("task:a"), envelope("task:b", task="b", seq=2)], now=200.0)
    assert written(hub, 200.0) == [([2], {ada})]
    assert hub.connections == (ada,)


def test_what_waits_for_the_only_follower_of_a_topic_outlives_the_renewal_of_its_ticket() -> None:
    hub = Hub()
    ada = live(hub, ADA, "task:a")
    hub.receive([event(1)], now=200.0)
    ada.admit(Grant(topics=frozenset({ADA, "task:b"}), expires_at=600.0), now=200.0)
    hub.attach(ada)
    assert written(hub, 200.0) == [([1], {ada})]
    hub.receive([event(2)], now=200.0)
    assert written(hub, 200.0) == []
    hub.attach(ada)
    assert written(hub, 200.1) == [([2], {ada})]


# One frame for many ------------------------------------------------------------------------------


def test_all_ready_connections_share_one_frame() -> None:
    hub = Hub()
    many = {live(hub, ADA) for _ in range(20)}
    hub.receive([envelope(ADA)], now=1.0)
    assert written(hub, 1.0) == [([1], many)]


def test_a_connection_that_is_not_ready_gets_the_newest_once_it_is() -> None:
    hub = Hub()
    ready, slow = live(hub, ADA), live(hub, ADA)
    slow.block(0.5)
    hub.receive([envelope(ADA, seq=1)], now=1.0)
    assert written(hub, 1.0) == [([1], {ready})]
    hub.receive([envelope(ADA, seq=2)], now=2.0)
    assert written(hub, 2.0) == [([2], {ready})]
    slow.unblock(3.0)
    hub.wake(slow)
    assert written(hub, 3.0) == [([2], {slow})]


def test_a_thousand_changes_in_a_second_cost_each_follower_ten_frames() -> None:
    hub = Hub()
    ada, frames = live(hub, ADA), []
    for number in range(1_000):
        now = 1.0 + number / 1_000
        hub.receive([envelope(ADA, seq=number)], now=now)
        frames += written(hub, now)
    frames += written(hub, 2.1)
    assert len(frames) in {10, 11}
    assert frames[-1] == ([999], {ada})


def test_the_first_snapshot_goes_at_once_and_the_last_one_arrives() -> None:
    hub = Hub()
    ada = live(hub, ADA)
    hub.receive([envelope(ADA, seq=1)], now=1.0)
    hub.receive([envelope(ADA, seq=2), envelope(ADA, seq=3)], now=1.01)
    assert written(hub, 1.01) == [([1], {ada})]
    assert hub.wake_at == pytest.approx(1.1)
    assert written(hub, 1.12) == [([3], {ada})]


def test_envelopes_that_wait_for_a_connection_go_in_one_frame() -> None:
    hub = Hub()
    ada = live(hub, ADA)
    hub.receive([envelope(ADA, task=task, seq=seq) for seq, task in enumerate("abcd", 1)], now=1.0)
    assert written(hub, 1.0) == [([1], {ada})]
    assert written(hub, 1.11) == [([2, 3, 4], {ada})]
    assert hub.wake_at is None


def test_events_that_wait_for_the_tick_keep_their_order() -> None:
    hub = Hub()
    ada = live(hub, ADA)
    hub.receive([event(number) for number in range(4)], now=1.0)
    assert [news for news, _ in [*written(hub, 1.0), *written(hub, 1.11)]] == [[0], [1, 2, 3]]
    assert ada.closed is None


def test_one_call_serves_a_limited_number_and_wake_at_tells_that_there_is_more() -> None:
    hub = Hub()
    many = {live(hub, ADA) for _ in range(25)}
    hub.receive([envelope(ADA)], now=1.0)
    slices = []
    while hub.wake_at is not None:
        slices += written(hub, 1.0, limit=10)
    assert [len(to) for _, to in slices] == [10, 10, 5]
    assert set().union(*(to for _, to in slices)) == many


def test_connections_that_are_served_last_are_ready_for_the_next_tick_like_the_first() -> None:
    hub = Hub()
    many = [live(hub, ADA) for _ in range(20)]
    hub.receive([envelope(ADA, seq=1)], now=1.0)
    assert sum(len(to) for late_s in (0.0, 0.04) for _, to in written(hub, 1.0 + late_s, limit=10)) == 20
    hub.receive([envelope(ADA, seq=2)], now=1.05)
    assert written(hub, 1.101) == [([2], set(many))], "one frame for all of them"


def test_a_connection_that_is_closed_during_delivery_is_named() -> None:
    hub = Hub()
    connection = follower(ADA, policy=ConnectionPolicy(max_queue=1), frame_numbers=hub.frame_numbers)
    hub.attach(connection)
    hub.receive([event(1), event(2)], now=1.0)
    assert written(hub, 1.0) == [([], {connection})]
    assert connection.closed is reasons.RESYNC


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 9), st.booleans(), st.floats(0, 0.2)), max_size=40))
def test_no_connection_is_sent_an_older_snapshot_and_all_end_with_the_newest(
    news: list[tuple[str, int, bool, float]],
) -> None:
    hub, now = Hub(), 1.0
    seen: dict[Connection, dict[str, list[int]]] = {live(hub, ADA): {} for _ in range(3)}
    blocking = next(iter(seen))
    for task, seq, is_blocked, later_s in news:
        now += later_s
        if is_blocked:
            blocking.block(now)
        else:
            blocking.unblock(now)
            hub.wake(blocking)
        hub.receive([envelope(ADA, task=task, seq=seq)], now=now)
        _collect(hub, seen, now)
    blocking.unblock(now)
    hub.wake(blocking)
    for later_s in (0.2, 0.4, 0.6):
        _collect(hub, seen, now + later_s)
    for tasks in seen.values():
        assert all(seqs == sorted(set(seqs)) for seqs in tasks.values())
        assert {task: seqs[-1] for task, seqs in tasks.items()} == {
            task: max(seq for name, seq, *_ in news if name == task) for task, *_ in news
        }


def _collect(hub: Hub, seen: dict[Connection, dict[str, list[int]]], now: float) -> None:
    for text, connections in hub.take(now):
        for task in json.loads(text)["tasks"]:
            for connection in connections:
                seen[connection].setdefault(task["id"], []).append(task["seq"])


# Topics ------------------------------------------------------------------------------------------


def test_the_topics_are_those_that_any_connection_follows_now() -> None:
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


# What the store denies ---------------------------------------------------------------------------

FORGED = 10**9


def forged(attempt: int, *, state: State = State.RUNNING, seq: int = FORGED) -> Envelope:
    return Envelope(topics=(ADA,), snapshot=Snapshot(id="a", attempt=attempt, seq=seq, state=state))


def saved(seq: int, *, attempt: int = 1, beat_at: float = 0.0, state: State = State.RUNNING) -> Envelope:
    return Envelope(topics=(ADA,), snapshot=Snapshot(id="a", attempt=attempt, seq=seq, state=state, beat_at=beat_at))


def news(hub: Hub, now: float) -> list[tuple[list[tuple[int, int]], list[str]]]:
    """What is written now: of each frame the attempts and seqs of its snapshots, and the tasks that it corrects."""
    frames = []
    for text, _connections in hub.take(now):
        message = json.loads(text)
        frames.append(
            ([(task["attempt"], task["seq"]) for task in message["tasks"]], list(message.get("corrected", [])))
        )
    return frames


@pytest.mark.parametrize(
    "lie", [forged(FORGED), forged(1, state=State.SUCCEEDED), forged(1), forged(2, state=State.QUEUED, seq=0)]
)
def test_what_was_only_heard_is_replaced_by_what_the_next_read_finds(lie: Envelope) -> None:
    hub = Hub()
    live(hub, ADA)
    hub.hear([lie], now=1.0)
    assert news(hub, 1.0) == [([(lie.order[0], lie.order[2])], [])]
    heard = hub.begin_read()
    assert hub.receive_read([saved(5, beat_at=1.0)], heard, now=2.0) == 1
    assert news(hub, 2.0) == [([(1, 5)], ["a"])]
    hub.hear([envelope(ADA, seq=6)], now=3.0)
    assert news(hub, 3.0) == [([(1, 6)], [])]


def test_progress_that_its_worker_could_not_save_yet_is_not_taken_back() -> None:
    hub = Hub()
    live(hub, ADA)
    hub.hear([envelope(ADA, seq=600)], now=61.0)
    assert news(hub, 61.0) == [([(1, 600)], [])]
    assert hub.receive_read([saved(5, beat_at=1.0)], hub.begin_read(), now=61.0) == 0
    assert news(hub, 62.0) == []


def test_what_is_heard_while_the_store_is_read_waits_for_the_next_read() -> None:
    hub = Hub()
    live(hub, ADA)
    heard = hub.begin_read()
    hub.hear([saved(0, attempt=2)], now=1.0)
    assert news(hub, 1.0) == [([(2, 0)], [])]
    assert hub.receive_read([saved(5)], heard, now=1.5) == 0
    assert news(hub, 2.0) == []
    assert hub.receive_read([saved(5)], hub.begin_read(), now=3.0) == 1
    assert news(hub, 3.0) == [([(1, 5)], ["a"])]


def test_a_lie_is_corrected_by_a_later_read_if_the_next_one_fails() -> None:
    hub = Hub()
    live(hub, ADA)
    hub.hear([forged(FORGED)], now=1.0)
    news(hub, 1.0)
    hub.read_failed(hub.begin_read())
    assert hub.receive_read([saved(5)], hub.begin_read(), now=2.0) == 1
    assert news(hub, 2.0) == [([(1, 5)], ["a"])]


def test_a_lie_that_waits_for_its_turn_is_not_sent_after_its_correction() -> None:
    hub = Hub()
    live(hub, ADA)
    hub.hear([envelope(ADA, seq=1)], now=1.0)
    news(hub, 1.0)
    hub.hear([forged(FORGED)], now=1.01)
    hub.receive_read([saved(5)], hub.begin_read(), now=1.02)
    assert [frame for at in (1.05, 1.2, 1.5) for frame in news(hub, at)] == [([(1, 5)], [])]
