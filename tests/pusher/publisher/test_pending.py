"""The queue for a Pusher service: the newest snapshot wins, ends and notices go first, and it is bounded."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from telltale.core.snapshot import Order
from telltale.core.states import State
from telltale.pusher.publisher.events import DATA_BYTES, PusherEvent
from telltale.pusher.publisher.pending import BATCH_EVENTS, Pending
from tests.pusher.publisher.envelopes import largest_snapshot, notice_of, snapshot_of

ALL = 1_000


def take(pending: Pending, progress: int = ALL) -> list[PusherEvent]:
    return pending.take(progress=progress, now=1_790_000_000.0)


def tasks_in(events: list[PusherEvent]) -> list[tuple[str, int]]:
    """The tasks of all updates, in order, each with its snapshot's number."""
    return [(task["id"], task["seq"]) for event in events for task in json.loads(event.data)["tasks"]]


def test_of_each_task_only_the_newest_snapshot_waits() -> None:
    pending = Pending()
    for seq in (1, 3, 2):
        pending.add_update("c1", snapshot_of("a", seq))
    assert tasks_in(take(pending)) == [("a", 3)]
    assert len(pending) == 0


def test_what_waits_for_one_channel_goes_in_one_event() -> None:
    pending = Pending()
    for number in range(5):
        pending.add_update("user", snapshot_of(f"t{number}"))
        pending.add_update(f"task{number}", snapshot_of(f"t{number}"))
    events = take(pending)
    assert [event.channel for event in events] == ["user", "task0", "task1", "task2", "task3", "task4"]
    assert len(json.loads(events[0].data)["tasks"]) == 5


def test_ends_notices_and_events_go_before_progress_and_need_no_allowance() -> None:
    pending = Pending()
    pending.add_update("c1", snapshot_of("a"))
    pending.add_event(PusherEvent("c2", "first", "1"))
    pending.add_update("c3", snapshot_of("b", state=State.FAILED))
    pending.add_update("c4", notice_of())
    pending.add_event(PusherEvent("c5", "last", "2"))
    assert [event.channel for event in take(pending, progress=0)] == ["c2", "c3", "c4", "c5"]
    assert [event.channel for event in take(pending, progress=1)] == ["c1"]


def test_progress_is_taken_in_turns_so_that_no_channel_is_left_out() -> None:
    pending, seen = Pending(), []
    for seq in range(6):
        for channel in ("c1", "c2", "c3"):
            pending.add_update(channel, snapshot_of(channel, seq))
        seen += [event.channel for event in take(pending, progress=1)]
    assert sorted(seen) == ["c1", "c1", "c2", "c2", "c3", "c3"]


def test_progress_of_the_same_channel_goes_with_an_end_for_nothing() -> None:
    pending = Pending()
    pending.add_update("user", snapshot_of("a"))
    pending.add_update("user", snapshot_of("b", state=State.SUCCEEDED))
    assert tasks_in(take(pending, progress=0)) == [("b", 1), ("a", 1)]


def test_the_end_of_a_task_takes_the_place_of_its_progress() -> None:
    pending = Pending()
    pending.add_update("c1", snapshot_of("a", 5))
    pending.add_update("c1", snapshot_of("a", 2, state=State.SUCCEEDED))
    pending.add_update("c1", snapshot_of("a", 6))
    assert tasks_in(take(pending, progress=0)) == [("a", 2)]
    assert len(pending) == 0


def test_a_further_attempt_takes_the_place_of_the_end_before_it() -> None:
    pending = Pending()
    pending.add_update("c1", snapshot_of("a", 5, state=State.FAILED))
    pending.add_update("c1", snapshot_of("a", 0, attempt=2))
    assert pending.urgent_count == 0
    assert tasks_in(take(pending)) == [("a", 0)]


def test_a_notice_that_waits_is_not_added_again() -> None:
    pending = Pending()
    pending.add_update("c1", notice_of(1))
    pending.add_update("c1", notice_of(1))
    [event] = take(pending)
    assert [notice["id"] for notice in json.loads(event.data)["notices"]] == ["n1"]


def test_a_request_has_at_most_ten_events() -> None:
    """P60."""
    pending = Pending()
    for number in range(25):
        pending.add_event(PusherEvent("c", f"e{number}", "null"))
    sizes, names = [], []
    while batch := take(pending):
        sizes.append(len(batch))
        names += [event.name for event in batch]
    assert sizes == [BATCH_EVENTS, BATCH_EVENTS, 5]
    assert names == [f"e{number}" for number in range(25)]


def test_an_event_has_at_most_ten_kilobytes_and_the_rest_follows() -> None:
    """P57."""
    pending = Pending()
    for number in range(9):
        pending.add_update("c", snapshot_of(f"t{number}", message="é" * 1_200, state=State.SUCCEEDED))
    pending.add_update("c", largest_snapshot("é"))
    events = [event for _ in range(10) for event in take(pending)]
    assert len(tasks_in(events)) == 10
    assert len(events) == 4
    assert all(len(event.data.encode()) <= DATA_BYTES for event in events)


def test_a_full_queue_drops_the_oldest_progress_and_then_the_oldest_of_all() -> None:
    pending = Pending(max_waiting=3)
    assert pending.add_update("c1", snapshot_of("a")) == 0
    pending.add_event(PusherEvent("c2", "e1", "null"))
    pending.add_event(PusherEvent("c2", "e2", "null"))
    assert pending.add_event(PusherEvent("c2", "e3", "null")) == 1
    assert pending.add_event(PusherEvent("c2", "e4", "null")) == 1
    assert [event.name for event in take(pending)] == ["e2", "e3", "e4"]


ADDED = st.lists(
    st.tuples(
        st.sampled_from(["c1", "c2"]),
        st.sampled_from(["a", "b", "c"]),
        st.integers(1, 2),
        st.sampled_from([State.RUNNING, State.FAILED]),
        st.integers(0, 9),
        st.booleans(),
    ),
    max_size=60,
)


@given(ADDED)
def test_a_page_that_obeys_the_order_has_the_newest_snapshot_of_each_task_in_the_end(added: list[Any]) -> None:
    pending = Pending()
    newest: dict[tuple[str, str], Order] = {}
    shown: dict[tuple[str, str], Order] = {}

    def show(events: list[PusherEvent]) -> None:
        for event in events:
            for task in json.loads(event.data)["tasks"]:
                order = (task["attempt"], task["ended"], task["seq"])
                key = (event.channel, task["id"])
                shown[key] = max(shown.get(key, order), order)

    for channel, task, attempt, state, seq, is_taken in added:
        envelope = snapshot_of(task, seq, attempt=attempt, state=state)
        assert pending.add_update(channel, envelope) == 0
        newest[channel, task] = max(newest.get((channel, task), envelope.order), envelope.order)
        if is_taken:
            show(take(pending, progress=1))
    while events := take(pending):
        show(events)
    assert shown == newest
    assert len(pending) == 0
    assert pending.urgent_count == 0


@given(ADDED, st.integers(1, 5))
def test_the_queue_stays_within_its_bound_and_gives_out_each_thing_once(added: list[Any], bound: int) -> None:
    pending, taken, dropped = Pending(max_waiting=bound), 0, 0
    things: set[tuple[str, str]] = set()
    for channel, task, attempt, state, seq, _is_taken in added:
        dropped += pending.add_update(channel, snapshot_of(task, seq, attempt=attempt, state=state))
        things.add((channel, task))
        assert len(pending) <= bound
    while events := take(pending):
        taken += len(tasks_in(events))
    assert taken <= min(bound, len(things))
    assert taken + dropped >= min(len(things), taken)
    assert len(pending) == 0
