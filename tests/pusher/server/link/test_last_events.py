"""The last events of cache channels: how long and how many are kept, which is the last, and how others get them."""

from collections.abc import Sequence

import pytest

from telltale.pusher.server.link import last_events as cache
from telltale.pusher.server.link.last_events import LastEvent, LastEvents
from telltale.pusher.server.link.last_events_sync import ASK_AGAIN_S, TRIES, CacheSync
from telltale.pusher.server.membership.entries import MalformedReport

CHANNEL = "cache-prices"


def keep(events: LastEvents, channel: str, text: str, *, now: float = 0.0, app_id: str = "1") -> LastEvent:
    return events.keep(app_id, channel, text, cache_s=1_800.0, now=now)


def text(events: LastEvents, channel: str = CHANNEL, *, now: float = 0.0, app_id: str = "1") -> str | None:
    event = events.find(app_id, channel, now)
    return None if event is None else event.text


# Keeping ------------------------------------------------------------------------------------------


def test_the_last_event_is_kept_for_its_time() -> None:
    """P30, P62."""
    events = LastEvents("a")
    assert text(events) is None
    keep(events, CHANNEL, "old", now=0.0)
    event = keep(events, CHANNEL, "new", now=100.0)
    assert event.ttl_s(400.0) == 1_500.0
    assert text(events, now=1_899.0) == "new"
    assert text(events, now=1_900.0) is None


def test_apps_have_events_of_their_own() -> None:
    events = LastEvents("a")
    keep(events, CHANNEL, "of 1")
    keep(events, CHANNEL, "of 2", app_id="2")
    assert (text(events), text(events, app_id="2"), text(events, app_id="3")) == ("of 1", "of 2", None)


def test_the_oldest_events_of_an_app_are_dropped_beyond_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MAX_EVENTS", 3)
    events = LastEvents("a")
    keep(events, CHANNEL, "other app's", app_id="2")
    for number in (0, 1, 2, 0, 3):
        keep(events, f"cache-{number}", str(number))
    assert [text(events, f"cache-{number}") for number in range(4)] == ["0", None, "2", "3"]
    assert text(events, app_id="2") == "other app's"


def test_the_oldest_events_of_an_app_are_dropped_beyond_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MAX_CHARACTERS", 1_000)
    events = LastEvents("a")
    for number in range(100):
        keep(events, f"cache-{number}", "x" * 200)
    assert [channel for _, channel, _ in events] == [f"cache-{number}" for number in range(96, 100)]
    keep(events, "cache-large", "x" * 5_000)
    assert text(events, "cache-large") is not None


def test_expired_events_make_room() -> None:
    events = LastEvents("a")
    for number in range(100):
        keep(events, f"cache-{number}", "x", now=0.0)
    keep(events, CHANNEL, "new", now=2_000.0)
    assert [channel for _, channel, _ in events] == [CHANNEL]


def test_processes_agree_on_the_last_event_in_whatever_order_they_hear_of_them() -> None:
    here, there, third = (LastEvents(name) for name in "abc")
    one, two = keep(here, CHANNEL, "of a"), keep(there, CHANNEL, "of b")
    here.receive("1", CHANNEL, two, now=0.0)
    there.receive("1", CHANNEL, one, now=0.0)
    for event in (two, one):
        third.receive("1", CHANNEL, event, now=0.0)
    assert text(here) == text(there) == text(third) == "of b"
    later = keep(here, CHANNEL, "of a again")
    there.receive("1", CHANNEL, later, now=0.0)
    assert text(there) == "of a again"


# Asking and answering -----------------------------------------------------------------------------


class Site:
    """What a process knows of the others, as a test sets it."""

    def __init__(self, *processes: str, is_leader: bool = False) -> None:
        self.processes = list(processes)
        self.is_leader = is_leader

    def heard_at(self, process: str) -> float | None:
        return 100.0 if process in self.processes else None


class Node:
    """One process's events."""

    def __init__(self, name: str, *others: str, is_leader: bool = False) -> None:
        self.events = LastEvents(name)
        self.site = Site(*others, is_leader=is_leader)
        self.sync = CacheSync(name, self.events, self.site)

    def take(self, now: float = 100.0) -> list[str]:
        return self.sync.take_messages(now)


def exchange(nodes: Sequence[Node], now: float = 100.0, *, loses: Sequence[int] = ()) -> int:
    """Deliver messages until there are none; lose those with these numbers. Return how many there were."""
    number = 0
    while batch := [(node, message) for node in nodes for message in node.take(now)]:
        for sender, message in batch:
            for node in nodes:
                if node is not sender and number not in loses:
                    node.sync.receive(message, now)
            number += 1
    return number


def test_a_new_process_gets_the_events_of_each_other_one() -> None:
    a, b, new = Node("a", "b", is_leader=True), Node("b", "a"), Node("new")
    keep(a.events, "cache-a", "of a")
    keep(b.events, "cache-b", "of b")
    exchange([a, b])
    for node in (a, b):
        node.site.processes.append("new")
    new.site.processes = ["a", "b"]
    exchange([a, b, new])
    for node in (a, b, new):
        assert (text(node.events, "cache-a"), text(node.events, "cache-b")) == ("of a", "of b")


def test_the_leader_answers_for_processes_that_are_gone() -> None:
    leader, other, new = Node("a", "b", is_leader=True), Node("b", "a"), Node("new", "a", "b")
    gone = keep(LastEvents("gone"), CHANNEL, "of the process that is gone")
    for node in (leader, other):
        node.events.receive("1", CHANNEL, gone, now=0.0)
        node.site.processes.append("new")
    messages = exchange([leader, other, new])
    assert text(new.events) == "of the process that is gone"
    assert messages == 12  # Six questions, and an answer of one page to each.


@pytest.mark.parametrize("leader_too", [False, True], ids=["another", "the leader"])
def test_a_new_process_gets_the_events_of_one_that_is_found_gone_after_it_asked(leader_too: bool) -> None:
    """P30, P62: a process was killed, another starts at once, and the silence is noticed seconds later."""
    left, new = Node("a", "gone", is_leader=not leader_too), Node("new", "a")
    exchange([left])
    left.events.receive("1", CHANNEL, keep(LastEvents("gone"), CHANNEL, "of the one that is gone"), now=90.0)
    left.site.processes.append("new")
    exchange([left, new], now=100.0)
    assert text(new.events) is None
    left.site.processes.remove("gone")
    exchange([left, new], now=110.0)
    left.site.is_leader = True
    exchange([left, new], now=112.0)
    assert text(new.events) == "of the one that is gone"
    assert exchange([left, new], now=115.0) == 0


def test_many_events_of_several_processes_that_are_gone_all_arrive() -> None:
    leader, new = Node("a", "gone-1", "gone-2", is_leader=True), Node("new", "a")
    exchange([leader])
    for gone in ("gone-1", "gone-2"):
        for number in range(150):
            event = keep(LastEvents(gone), f"cache-{gone}-{number}", "x" * 1_000)
            leader.events.receive("1", f"cache-{gone}-{number}", event, now=90.0)
    leader.site.processes.append("new")
    exchange([leader, new], now=100.0)
    for gone in ("gone-1", "gone-2"):
        leader.site.processes.remove(gone)
        for message in leader.take(110.0):
            new.sync.receive(message, 110.0)
    exchange([leader, new], now=111.0)
    assert len(list(new.events)) == 300


def test_nothing_is_sent_for_a_process_that_is_gone_if_none_is_new() -> None:
    leader, other = Node("a", "b", "gone", is_leader=True), Node("b", "a", "gone")
    for node in (leader, other):
        node.events.receive("1", CHANNEL, keep(LastEvents("gone"), CHANNEL, "x"), now=0.0)
    exchange([leader, other], now=100.0)
    for number in range(TRIES):
        exchange([leader, other], now=100.0 + number * ASK_AGAIN_S)
    for node in (leader, other):
        node.site.processes.remove("gone")
    assert exchange([leader, other], now=1_000.0) == 0


def test_events_keep_the_rest_of_their_time_at_another_process() -> None:
    old, new = Node("a", "new"), Node("new", "a")
    keep(old.events, CHANNEL, "x", now=-1_000.0)
    exchange([old, new], now=100.0)
    assert text(new.events, now=799.0) == "x"
    assert text(new.events, now=801.0) is None


def test_many_events_travel_in_pages_a_few_at_a_time() -> None:
    old, new = Node("a", "new"), Node("new", "a")
    for number in range(300):
        keep(old.events, f"cache-{number}", "x" * 1_000)
    while batch := [(node, message) for node in (old, new) for message in node.take()]:
        assert sum(len(message) for _, message in batch) < 40_000
        for sender, message in batch:
            (new if sender is old else old).sync.receive(message, 100.0)
    assert len(list(new.events)) == 300


@pytest.mark.parametrize("lost", [[0], [2], [3], [6], list(range(8))])
def test_what_is_lost_is_asked_for_again(lost: list[int]) -> None:
    old, new = Node("a", "new"), Node("new", "a")
    for number in range(60):
        keep(old.events, f"cache-{number}", "x" * 1_000)
    exchange([old, new], loses=lost)
    exchange([old, new], 100.0 + ASK_AGAIN_S)
    exchange([old, new], 100.0 + 2 * ASK_AGAIN_S)
    assert len(list(new.events)) == 60
    assert new.sync.due_at == float("inf")


def test_a_process_that_does_not_answer_is_asked_a_few_times_alone() -> None:
    new = Node("new", "old version")
    assert sum(len(new.take(100.0 * number)) for number in range(20)) == TRIES
    assert new.sync.due_at == float("inf")


def test_after_a_loss_only_new_events_are_asked_for() -> None:
    old, other = Node("a", "b"), Node("b", "a")
    keep(old.events, "cache-old", "x" * 1_000, now=0.0)
    exchange([old, other], now=90.0)
    keep(old.events, "cache-new", "missed", now=99.0)
    other.sync.missed(now=101.0)
    [question] = other.take(101.0)
    old.sync.receive(question, 101.0)
    [answer] = old.take(101.0)
    assert "cache-old" not in answer
    other.sync.receive(answer, 101.0)
    assert text(other.events, "cache-new") == "missed"


@pytest.mark.parametrize("message", ["", "[]", "{}", '{"p":"a","k":"cache","e":[[1]]}', '{"p":"a","k":"cache?"}'])
def test_messages_of_another_form_are_refused(message: str) -> None:
    with pytest.raises(MalformedReport):
        Node("b", "a").sync.receive(message, 0.0)
