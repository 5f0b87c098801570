"""The connection of one client: what it sends and when, and why it is closed."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telltale.core import reasons
from telltale.core.clock_offset import ClockOffset
from telltale.core.connection import Connection
from telltale.core.health import Limits
from telltale.core.hub import due_frames, fan_out
from telltale.core.policy import ConnectionPolicy, Grant, Phase
from telltale.core.snapshot import Snapshot
from telltale.core.states import State
from telltale.core.wire import Envelope, Event, Notice

ADA = "user:1"
POLICY = ConnectionPolicy()


def grant(*topics: str, until: float = 300.0) -> Grant:
    return Grant(topics=frozenset(topics or (ADA,)), expires_at=until)


def waiting(policy: ConnectionPolicy = POLICY) -> Connection:
    return Connection(opened_at=0.0, policy=policy, limits=Limits(quiet_s=61.0))


def live(*known: Envelope, policy: ConnectionPolicy = POLICY) -> Connection:
    """A connection that has sent its greeting and `known`, at 0."""
    connection = waiting(policy)
    connection.admit(grant(), now=0.0)
    connection.catch_up(known)
    sent(connection, 0.0)
    return connection


def sent(connection: Connection, now: float, *, ack: bool = True) -> list[dict[str, Any]]:
    """All frames that the connection sends at this moment, decoded."""
    frames = []
    while (frame := connection.take(now)) is not None:
        frames.append(json.loads(frame))
        if ack and "n" in frames[-1]:
            connection.ack(frames[-1]["n"], now=now)
    return frames


def at(seq: int, *, task: str = "a", attempt: int = 1, state: State = State.RUNNING, topic: str = ADA) -> Envelope:
    return Envelope(topics=(topic,), snapshot=Snapshot(id=task, attempt=attempt, seq=seq, state=state))


def notice(id: str, topic: str = ADA) -> Envelope:
    return Envelope(topics=(topic,), notice=Notice(id=id, topic=topic, level="info", text="Done."))


def event(name: str = "line", data: object = None) -> Envelope:
    return Envelope(topics=(ADA,), event=Event(topic=ADA, name=name, data=data))


def seqs(frames: list[dict[str, Any]]) -> list[int]:
    return [task["seq"] for frame in frames for task in frame.get("tasks", ())]


# Attach first, read second -----------------------------------------------------------------------


def test_without_a_ticket_nothing_is_followed_kept_or_sent() -> None:
    connection = waiting()
    connection.offer(at(1))
    connection.catch_up([at(2)])
    assert connection.phase is Phase.WAITING
    assert connection.take(1.0) is None


def test_the_greeting_comes_first_and_names_the_topics_and_their_expiry() -> None:
    connection = waiting()
    connection.admit(grant(ADA, "task:a"), now=0.0)
    connection.catch_up([])
    assert sent(connection, 1.5) == [
        {
            "type": "hello",
            "v": 1,
            "n": 1,
            "now": 1.5,
            "topics": ["task:a", ADA],
            "expires_at": 300.0,
            "limits": {"quiet_s": 61.0, "stalled_s": 45.0, "lease_s": 105.0},
            "ack_every": 16_384,
        }
    ]


def test_an_envelope_that_comes_between_ticket_and_snapshot_is_kept_and_the_newest_is_sent() -> None:
    connection = waiting()
    connection.admit(grant(), now=0.0)
    connection.offer(at(5))
    assert connection.take(0.0) is None
    connection.catch_up([at(3)])
    assert seqs(sent(connection, 0.0)) == [5]


def test_snapshots_and_notices_that_the_client_has_are_not_sent_again() -> None:
    connection = waiting()
    connection.admit(grant(), have={"a": (1, False, 3), "b": (1, False, 8)}, seen=["n1"], now=0.0)
    connection.catch_up([at(3), at(9, task="b"), notice("n1"), notice("n2")])
    _, update = sent(connection, 0.0)
    assert [(task["id"], task["seq"]) for task in update["tasks"]] == [("b", 9)]
    assert [notice["id"] for notice in update["notices"]] == ["n2"]


def test_a_client_that_names_older_snapshots_than_it_was_sent_is_not_sent_older_ones() -> None:
    connection = live(at(5))
    connection.admit(grant(), have={"a": (1, False, 2)}, now=1.0)
    connection.offer(at(4))
    assert sent(connection, 1.0) == []


# The newest wins ---------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(1, 3), st.sampled_from([State.RUNNING, State.LOST]), st.integers(0, 9))))
def test_in_any_order_of_arrival_the_last_frame_has_the_newest_snapshot_and_none_goes_back(
    orders: list[tuple[int, State, int]],
) -> None:
    connection, now, shown = live(), 0.0, []
    envelopes = [at(seq, attempt=attempt, state=state) for attempt, state, seq in orders]
    for number, envelope in enumerate(envelopes):
        now += 0.07
        connection.offer(envelope)
        if number % 3 == 0:
            shown += sent(connection, now)
    shown += sent(connection, now + 1)
    sent_orders = [Snapshot.from_json(task).order for frame in shown for task in frame["tasks"]]
    assert sent_orders == sorted(set(sent_orders))
    assert sent_orders[-1:] == ([max(envelope.order for envelope in envelopes)] if envelopes else [])


def test_for_a_slow_reader_only_the_newest_snapshot_of_each_task_is_kept() -> None:
    connection = live()
    for seq in range(1, 1_000):
        connection.offer(at(seq))
        connection.offer(at(seq, task="b"))
    [update] = sent(connection, 1.0)
    assert [(task["id"], task["seq"]) for task in update["tasks"]] == [("a", 999), ("b", 999)]


def test_the_first_snapshot_goes_at_once_and_the_next_waits_for_the_tick() -> None:
    connection = live()
    connection.offer(at(1))
    assert seqs(sent(connection, 5.0)) == [1]
    connection.offer(at(2))
    connection.offer(at(3))
    assert sent(connection, 5.05) == []
    assert connection.wake_at == pytest.approx(5.1)
    assert seqs(sent(connection, 5.1)) == [3]


def test_a_task_that_waits_stays_remembered_when_others_are_forgotten() -> None:
    connection = live(policy=ConnectionPolicy(max_remembered=2))
    connection.offer(at(9, task="a"))
    connection.offer(at(1, task="b"))
    connection.offer(at(3, task="a"))
    assert seqs(sent(connection, 1.0)) == [9, 1]


def test_when_more_tasks_wait_than_can_be_remembered_the_client_must_resync() -> None:
    connection = live(policy=ConnectionPolicy(max_remembered=2))
    for task in "abc":
        connection.offer(at(1, task=task))
    assert connection.closed is reasons.RESYNC


def test_a_clock_that_is_put_back_does_not_silence_the_connection() -> None:
    connection = live(policy=ConnectionPolicy(credit=None))
    connection.offer(at(1))
    sent(connection, 200.0)
    connection.offer(at(2))
    sent(connection, 10.0)
    assert seqs(sent(connection, 10.1)) == [2]


# Notices and events ------------------------------------------------------------------------------


def test_a_notice_is_sent_once_however_often_it_is_offered() -> None:
    connection = live(notice("n1"))
    connection.offer(notice("n1"))
    connection.offer(notice("n2"))
    [update] = sent(connection, 1.0)
    assert [notice["id"] for notice in update["notices"]] == ["n2"]


def test_notices_beyond_the_limit_stay_in_the_store_and_come_with_the_next_re_reads() -> None:
    stored = [notice(f"n{number}") for number in range(5)]
    connection = waiting(ConnectionPolicy(max_queue=2))
    connection.admit(grant(), now=0.0)
    sent_ids: list[str] = []
    for now in (0.0, 15.0, 30.0):
        connection.catch_up(stored)
        sent_ids += [n["id"] for frame in sent(connection, now) for n in frame.get("notices", ())]
    assert sent_ids == ["n0", "n1", "n2", "n3", "n4"]
    assert connection.closed is None


def test_events_beyond_the_limit_close_the_connection_so_that_the_client_knows() -> None:
    connection = live(policy=ConnectionPolicy(max_queue=2))
    for _ in range(3):
        connection.offer(event())
    assert connection.closed is reasons.RESYNC
    assert json.loads(connection.bye()) == {"type": "bye", "code": 4002, "reason": "resync", "again": "at once"}


def test_events_keep_their_order_and_equal_events_are_all_sent() -> None:
    connection = live()
    for number in (1, 1, 2):
        connection.offer(event(data=number))
    [update] = sent(connection, 1.0)
    assert [event["data"] for event in update["events"]] == [1, 1, 2]


# What the ticket covers --------------------------------------------------------------------------


def test_envelopes_that_the_ticket_does_not_cover_are_not_sent() -> None:
    connection = live(at(1, topic="user:2"), notice("n1", topic="user:2"))
    connection.offer(at(2, topic="user:2"))
    assert sent(connection, 1.0) == []


def test_a_task_that_was_given_up_and_is_followed_again_is_sent_again() -> None:
    connection = live()
    connection.admit(grant(ADA, "task:a"), now=1.0)
    connection.catch_up([at(3, topic="task:a")])
    assert [task["seq"] for frame in sent(connection, 1.0) for task in frame["tasks"]] == [3]
    connection.admit(grant(ADA), now=2.0)
    assert "a" not in connection.newest
    connection.admit(grant(ADA, "task:a"), now=3.0)
    connection.catch_up([at(3, topic="task:a")])
    assert [task["seq"] for frame in sent(connection, 3.0) for task in frame["tasks"]] == [3]


def test_of_a_task_that_is_given_up_only_by_its_id_no_older_snapshot_replaces_the_one_that_waits() -> None:
    connection = live()
    connection.admit(grant(ADA, "task:a"), now=1.0)
    connection.offer(at(5))
    connection.admit(grant(ADA), now=2.0)
    connection.offer(at(4))
    assert [task["seq"] for frame in sent(connection, 2.0) for task in frame["tasks"]] == [5]


def test_a_connection_that_follows_a_thousand_tasks_one_after_another_keeps_none_of_them() -> None:
    connection = live()
    for number in range(1_000):
        task = f"t{number}"
        connection.admit(grant(ADA, f"task:{task}"), now=float(number % 200))
        connection.catch_up([at(1, task=task, topic=f"task:{task}")])
        sent(connection, float(number % 200) + 1)
    connection.admit(grant(ADA), now=250.0)
    assert (connection.newest, connection.outbox.is_empty) == ({}, True)


def test_envelopes_that_wait_and_are_not_covered_by_the_renewed_ticket_are_dropped() -> None:
    connection = waiting()
    connection.admit(grant(ADA, "task:b"), now=0.0)
    connection.catch_up([])
    sent(connection, 0.0)
    for envelope in (at(1), at(1, task="b", topic="task:b"), notice("n1", topic="task:b")):
        connection.offer(envelope)
    connection.admit(grant(ADA, until=600.0), now=1.0)
    [update] = sent(connection, 1.0)
    assert [task["id"] for task in update["tasks"]] == ["a"]
    assert update["notices"] == []
    connection.admit(grant(ADA, "task:b", until=900.0), now=2.0)
    connection.catch_up([at(1, task="b", topic="task:b")])
    assert seqs(sent(connection, 2.0)) == [1]


def test_cancellations_are_for_workers_and_are_not_sent_to_browsers() -> None:
    connection = live()
    connection.offer(Envelope(topics=(ADA,), cancel="a"))
    assert sent(connection, 1.0) == []


# Flow control ------------------------------------------------------------------------------------


def test_without_credit_nothing_is_sent_and_after_an_acknowledgement_the_newest_is() -> None:
    connection = live(policy=ConnectionPolicy(credit=100))
    connection.offer(at(1))
    sent(connection, 1.0, ack=False)
    connection.offer(at(2))
    connection.offer(at(3))
    [question] = sent(connection, 2.0, ack=False)
    assert question["type"] == "ping", "a client that acknowledges only now and then is asked once"
    assert sent(connection, 2.5, ack=False) == []
    connection.ack(question["n"], now=3.0)
    assert seqs(sent(connection, 3.0)) == [3]


@given(st.lists(st.integers(1, 12), max_size=60))
def test_a_client_that_acknowledges_each_quarter_of_its_credit_waits_for_the_pace_at_most(sizes: list[int]) -> None:
    policy = ConnectionPolicy(credit=4_000)
    connection = live(policy=policy)
    owed, now = 0, 0.0
    for seq, size in enumerate(sizes, 1):
        now += 0.2
        connection.offer(Envelope(topics=(ADA,), event=Event(topic=ADA, name="x", data="x" * size * 100)))
        while (text := connection.take(now)) is not None:
            owed += len(text)
            message = json.loads(text)
            if "n" in message and (message["type"] == "ping" or owed >= 1_000):
                connection.ack(message["n"], now=now)
                owed = 0
        assert connection.closed is None, seq
    assert not connection.has_pending or connection.wake_at == pytest.approx(now + policy.pace_s)


def test_a_frame_is_limited_in_size_and_the_rest_goes_with_the_next() -> None:
    connection = live(policy=ConnectionPolicy(max_frame=100))
    for task in "abc":
        connection.offer(at(1, task=task))
    connection.offer(notice("n1"))
    frames = [frame for tick in range(5) for frame in sent(connection, 1.0 + tick)]
    assert [[task["id"] for task in frame["tasks"]] for frame in frames] == [["a"], ["b"], ["c"], []]
    assert frames[-1]["notices"]


def test_a_client_that_acknowledges_nothing_is_closed_as_slow() -> None:
    connection = live(policy=ConnectionPolicy(credit=100))
    connection.offer(at(1))
    sent(connection, 1.0, ack=False)
    assert sent(connection, 1.2, ack=False)[0]["type"] == "ping"
    assert connection.wake_at == 11.0
    connection.close_if_overdue(10.9)
    assert connection.closed is None
    connection.close_if_overdue(11.0)
    assert connection.closed is reasons.SLOW


def test_a_client_on_a_slow_line_that_makes_progress_is_not_closed() -> None:
    connection = live(policy=ConnectionPolicy(credit=600, max_frame=100))
    for task in "abcdef":
        connection.offer(at(1, task=task))
    frames = [frame for tick in range(6) for frame in sent(connection, 1.0 + tick, ack=False)]
    assert len([frame for frame in frames if frame["type"] == "update"]) < 6
    connection.ack(frames[0]["n"], now=9.0)
    connection.close_if_overdue(15.0)
    assert connection.closed is None


def test_without_a_way_back_no_credit_is_counted() -> None:
    connection = live(policy=ConnectionPolicy(credit=None))
    for seq in range(1, 200):
        connection.offer(at(seq))
        assert seqs(sent(connection, float(seq), ack=False)) == [seq]
    connection.close_if_overdue(290.0)
    assert connection.closed is None


# Time and closing --------------------------------------------------------------------------------


def test_something_is_sent_at_least_every_fifteen_seconds() -> None:
    connection = live()
    assert sent(connection, 14.8) == []
    [ping] = sent(connection, 15.0)
    assert ping == {"type": "ping", "now": 15.0}


def test_a_client_that_was_not_heard_for_long_is_asked_for_an_acknowledgement() -> None:
    connection = live()
    sent(connection, 15.0)
    [ping] = sent(connection, 30.0, ack=False)
    assert ping == {"type": "ping", "n": 2, "now": 30.0}
    connection.ack(2, now=30.1)
    connection.close_if_overdue(60.0)
    assert connection.closed is None


def test_frames_are_numbered_from_one_without_a_gap() -> None:
    connection = live()
    numbers = []
    for now in (1.0, 2.0, 40.0):
        connection.ack(0, now=now)
        connection.offer(at(int(now)))
        numbers += [frame["n"] for frame in sent(connection, now)]
    assert numbers == [2, 3, 4]


@pytest.mark.parametrize(
    ("now", "reason"), [(9.9, None), (10.0, reasons.NO_TICKET)], ids=["just in time", "at the limit"]
)
def test_a_client_that_shows_no_ticket_in_time_is_closed(now: float, reason: object) -> None:
    connection = waiting()
    assert connection.wake_at == 10.0
    connection.close_if_overdue(now)
    assert connection.closed is reason


def test_a_client_whose_snapshot_is_not_read_in_time_must_resync() -> None:
    connection = waiting()
    connection.admit(grant(), now=9.0)
    connection.close_if_overdue(18.9)
    assert connection.closed is None
    connection.close_if_overdue(19.0)
    assert connection.closed is reasons.RESYNC


def test_an_expired_ticket_is_refused_and_one_that_expires_closes_the_connection() -> None:
    late = waiting()
    late.admit(grant(until=5.0), now=5.0)
    assert late.closed is reasons.EXPIRED
    connection = live(policy=ConnectionPolicy(credit=None))
    assert connection.take(300.0) is None
    assert connection.closed is reasons.EXPIRED


def test_a_renewed_ticket_keeps_the_connection_open() -> None:
    connection = live(policy=ConnectionPolicy(credit=None))
    connection.admit(grant(until=600.0), now=250.0)
    sent(connection, 300.0)
    assert connection.phase is Phase.LIVE


def test_a_client_that_acknowledges_and_falls_silent_is_closed() -> None:
    connection = live()
    connection.close_if_overdue(39.9)
    assert connection.closed is None
    connection.close_if_overdue(40.0)
    assert connection.closed is reasons.SILENT


@pytest.mark.parametrize("answers", [True, False])
def test_a_client_that_gets_little_but_often_is_asked_before_it_is_closed_as_silent(answers: bool) -> None:
    connection = live()
    questions = 0
    for second in range(1, 100):
        # More often than pings are due, and less text than a client acknowledges without being asked.
        sharing, _ = fan_out([connection], at(second), n=1_000 + 2 * second, size=300, now=second, free_at=second + 0.1)
        assert sharing or connection.closed
        for _, frame in due_frames([connection], second + 0.5):
            if frame is not None and "n" in (question := json.loads(frame)):
                assert question["type"] == "ping"
                questions += 1
                if answers:
                    connection.ack(question["n"], now=second + 0.6)
    assert connection.closed is (None if answers else reasons.SILENT)
    assert questions == (4 if answers else 1)


def test_the_first_reason_for_closing_stands_and_nothing_is_sent_after_it() -> None:
    connection = live()
    connection.offer(at(1))
    connection.close(reasons.DRAIN)
    connection.close(reasons.SLOW)
    connection.offer(at(2))
    connection.admit(grant(), now=1.0)
    assert connection.closed is reasons.DRAIN
    assert connection.take(1.0) is None
    assert connection.wake_at is None


@given(
    credit=st.sampled_from([None, 1, 400, 65_536]),
    steps=st.lists(st.tuples(st.sampled_from(["offer", "event", "ack", "wait"]), st.integers(0, 30)), max_size=40),
)
def test_a_driver_that_sleeps_until_wake_at_is_neither_woken_for_nothing_nor_late(
    credit: int | None, steps: list[tuple[str, int]]
) -> None:
    connection, now = live(policy=ConnectionPolicy(credit=credit)), 0.0
    for action, number in steps:
        if action == "offer":
            connection.offer(at(number))
        elif action == "event":
            connection.offer(event())
        elif action == "ack":
            connection.ack(number, now=now)
        sent(connection, now, ack=False)
        if connection.wake_at is None:
            return
        assert connection.wake_at > now, "it would be woken in a loop, for nothing"
        if action == "wait":
            now = connection.wake_at
            before = connection.phase, connection.has_pending
            frames = sent(connection, now, ack=False)
            assert frames or connection.phase is Phase.CLOSED, f"woken for nothing, at {before}"


def test_instants_are_by_the_clock_of_the_store_and_durations_by_the_clock_of_the_connection() -> None:
    offset = ClockOffset(1_000.0)
    connection = Connection(opened_at=0.0, policy=ConnectionPolicy(credit=None), offset=offset)
    connection.admit(grant(until=1_300.0), now=0.0)
    connection.catch_up([])
    assert [frame["now"] for frame in sent(connection, 1.0)] == [1_001.0]
    offset.seconds = 970.0  # The store's clock was put back by half a minute.
    connection.offer(at(1))
    assert [frame["now"] for frame in sent(connection, 2.0)] == [972.0]
    connection.close_if_overdue(329.0)
    assert connection.closed is None
    connection.close_if_overdue(331.0)
    assert connection.closed is reasons.EXPIRED


# What the client should not have -----------------------------------------------------------------


def test_a_client_that_has_what_the_store_denies_is_told_so() -> None:
    connection = waiting()
    connection.admit(grant(), have={"a": (10**9, False, 0), "b": (2, False, 8)}, now=0.0)
    connection.catch_up([at(3), at(9, task="b", attempt=2)])
    _, update = sent(connection, 0.0)
    assert [(task["id"], task["attempt"], task["seq"]) for task in update["tasks"]] == [("a", 1, 3), ("b", 2, 9)]
    assert update["corrected"] == ["a"]
