"""The contract suite of transports: the promises that every transport keeps, as tests.

Subclass `TransportContract` and provide the fixture `connect`: each call connects a `TransportClient`, of a class of
your own, to a real server that serves the live address by the transport under test; close all of them in the fixture.
The server shares the tests' database, so run the suite outside of a transaction (`transactional_db`), and its broker.
Tests that take the fixture `settings` need a server in the tests' process, which sees the changed settings.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Protocol

import pytest
from django.contrib.auth import get_user_model

import telltale
from telltale import store
from telltale.core.snapshot import Order, Progress
from telltale.core.states import State
from telltale.core.topics import task_topic, user_topic
from telltale.core.wire import Envelope
from telltale.live import tickets
from telltale.messages import announce
from telltale.models import TaskState
from telltale.owners import Owner

PATIENCE_S = 30.0
"""How long a test waits for a message; a slow machine needs most of it, a fast one almost nothing."""

Condition = Callable[[Mapping[str, Any]], Any]


class TransportClient:
    """A client of the transport under test; implement `receive` and `close`."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        """All messages so far, in order."""
        self.has_ended = False
        """Whether the server has closed the connection."""

    def receive(self, timeout_s: float) -> None:
        """Append the next message to `messages`, or set `has_ended`. May return or raise `TimeoutError` without one."""
        raise NotImplementedError("Implement `receive`.")

    def close(self) -> None:
        """Disconnect."""
        raise NotImplementedError("Implement `close`.")

    def until(self, condition: Condition, timeout_s: float = PATIENCE_S) -> dict[str, Any]:
        """Return the first of all messages for which `condition` holds; receive until there is one."""
        give_up_at, checked = time.monotonic() + timeout_s, 0
        while True:
            for message in self.messages[checked:]:
                if condition(message):
                    return message
            checked = len(self.messages)
            left_s = give_up_at - time.monotonic()
            assert left_s > 0, f"No such message within {timeout_s:.0f} s. Received: {self.messages}"
            assert not self.has_ended, f"The connection ended before such a message. Received: {self.messages}"
            self.receive(left_s)

    def message(self, message_type: str) -> dict[str, Any]:
        """Return the first message of this type."""
        return self.until(lambda message: message["type"] == message_type)

    def snapshot(self, task_id: object, condition: Condition = lambda snapshot: True) -> dict[str, Any]:
        """Return the task's first snapshot for which `condition` holds."""

        def matches(message: Mapping[str, Any]) -> list[dict[str, Any]]:
            return [s for s in message.get("tasks", []) if s["id"] == str(task_id) and condition(s)]

        return matches(self.until(matches))[0]


class Connect(Protocol):
    """Connects a client."""

    def __call__(self, ticket: str, have: Mapping[str, Order] | None = None) -> TransportClient:
        """`have`: the orders of the snapshots that the client shows already, by task, for its hello."""


class TransportContract:
    """What holds for every transport."""

    @pytest.fixture
    def connect(self) -> Connect:
        """Connect a client by the transport under test."""
        raise NotImplementedError("Override the fixture `connect`.")

    def test_stored_snapshots_come_first_and_then_every_newer_one(self, connect: Connect) -> None:
        ada = person("ada")
        task = queued(ada)
        client = connect(tickets.issue([user_topic(ada.pk)]))
        assert client.snapshot(task.pk)["state"] == "queued"
        claim = claimed(task)
        report(claim, 0.25, seq=2)
        assert client.snapshot(task.pk, lambda s: s["progress"]["fraction"] == 0.25)["state"] == "running"
        end(claim, result="/there/")
        assert client.snapshot(task.pk, lambda s: s["ended"])["result"] == "/there/"

    def test_a_published_update_is_received_before_it_is_in_the_store(self, connect: Connect) -> None:
        task = queued()
        client = connect(tickets.issue([task_topic(task.pk)]))
        client.snapshot(task.pk)
        claim = claimed(task)
        report(claim, 0.1, seq=2)
        client.snapshot(task.pk, lambda s: s["seq"] == 2)
        [stored] = store.read_tasks([claim.id])
        assert stored.snapshot is not None
        published = Envelope(topics=stored.topics, snapshot=replace(stored.snapshot, seq=3))
        with repeating(lambda: announce([published])):
            client.snapshot(task.pk, lambda s: s["seq"] == 3)

    def test_a_snapshot_that_the_client_has_is_not_sent_again(self, connect: Connect) -> None:
        task = queued()
        claim = claimed(task)
        report(claim, 0.5, seq=5)
        client = connect(tickets.issue([task_topic(task.pk)]), {str(task.pk): (1, False, 5)})
        report(claim, 0.75, seq=6)
        assert client.snapshot(task.pk)["seq"] == 6

    def test_topics_that_the_ticket_does_not_cover_are_not_sent(self, connect: Connect) -> None:
        ada, grace = person("ada"), person("grace")
        task, other_task = queued(ada), queued(grace)
        client = connect(tickets.issue([user_topic(ada.pk)]))
        client.snapshot(task.pk)
        end(claimed(other_task))
        telltale.notify(grace, "A secret")
        telltale.publish("project:7", "secret")
        end(claimed(task))
        client.snapshot(task.pk, lambda s: s["ended"])
        assert str(other_task.pk) not in str(client.messages)
        assert "ecret" not in str(client.messages)

    @pytest.mark.parametrize("kind", ["none", "malformed", "forged", "expired"])
    def test_without_a_valid_ticket_the_only_message_is_bye(self, connect: Connect, kind: str, settings: Any) -> None:
        topic = task_topic(queued().pk)
        ticket = {
            "none": "",
            "malformed": "nonsense",
            "forged": tickets.issue([topic])[:-3] + "abc",
            "expired": tickets.issue([topic], ttl_s=-1),
        }[kind]
        client = connect(ticket)
        bye = client.message("bye")
        assert bye["code"] == (4402 if kind == "expired" else 4401)
        assert bye["again"] == ("at once" if kind == "expired" else "never")
        assert client.messages == [bye]

    def test_notices_and_events_are_received(self, connect: Connect) -> None:
        ada = person("ada")
        client = connect(tickets.issue([user_topic(ada.pk), "project:7"]))
        notice = telltale.notify(ada, "Hello", level="success", url="/there/")
        assert client.until(lambda m: m.get("notices"))["notices"][0] == notice.to_json()
        with repeating(lambda: telltale.publish("project:7", "build.finished", {"ok": True})):
            event = client.until(lambda m: m.get("events"))["events"][0]
        assert event == {"topic": "project:7", "name": "build.finished", "data": {"ok": True}}

    def test_the_first_message_has_the_limits_and_the_servers_clock(self, connect: Connect) -> None:
        client = connect(tickets.issue(["project:7"], ttl_s=120))
        first = client.until(lambda m: m["type"] in {"hello", "poll"})
        assert set(first["limits"]) == {"quiet_s", "stalled_s", "lease_s"}
        assert abs(first["now"] - time.time()) < 20
        assert 100 < first["expires_at"] - first["now"] <= 120

    def test_an_expired_lease_is_reported_without_a_scheduler(self, connect: Connect, settings: Any) -> None:
        settings.TELLTALE = settings.TELLTALE | {"RECHECK_S": 0.3}
        task = queued()
        claim = claimed(task)
        client = connect(tickets.issue([task_topic(task.pk)]))
        assert client.snapshot(task.pk)["state"] == "running"
        # As if the worker's last heartbeat were long ago.
        beat = store.Report(id=claim.id, attempt=claim.attempt, seq=2, progress=Progress(), is_beat=True)
        store.save([beat], now=store.now() - 1_000)
        assert client.snapshot(task.pk, lambda s: s["ended"])["state"] == "lost"

    def test_without_a_broker_everything_is_read_from_the_store(self, connect: Connect, settings: Any) -> None:
        settings.TELLTALE = settings.TELLTALE | {"BROKER": "none://", "RECHECK_S": 0.5}
        ada = person("ada")
        task = queued(ada)
        client = connect(tickets.issue([user_topic(ada.pk)]))
        client.snapshot(task.pk)
        end(claimed(task), State.FAILED, error="Row 7 is bad.")
        assert client.snapshot(task.pk, lambda s: s["ended"])["error"] == "Row 7 is bad."
        assert client.until(lambda m: m.get("notices"))["notices"][0]["level"] == "error"


def person(name: str) -> Any:
    """Create a user."""
    return get_user_model().objects.create_user(name)


def queued(owner: Any = None) -> TaskState:
    """Create a queued task."""
    return store.queue(runner="thread", name="example", label="Import", owner=Owner.of(owner)).task


def claimed(task: TaskState) -> store.Claim:
    """Claim the task, as a worker does when it starts."""
    claim = store.claim(task_id=task.pk, worker="w1")
    assert isinstance(claim, store.Claim)
    return claim


def report(claim: store.Claim, fraction: float, *, seq: int) -> None:
    """Save and publish progress, as a worker does."""
    store.save([store.Report(id=claim.id, attempt=claim.attempt, seq=seq, progress=Progress(fraction=fraction))])
    announce(store.read_tasks([claim.id]))


def end(claim: store.Claim, state: State = State.SUCCEEDED, **fields: Any) -> None:
    """Save and publish the end of the task, as a worker does."""
    changed = store.end(claim.id, claim.attempt, state, **fields)
    assert changed is not None
    announce(changed.envelopes)


@contextmanager
def repeating(act: Callable[[], object], every_s: float = 0.05) -> Iterator[None]:
    """Call `act` again and again: an event is sent once, so a client that polls may miss it between two polls."""
    stop = threading.Event()

    def repeat() -> None:
        while not stop.wait(every_s):
            act()

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
