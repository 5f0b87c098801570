"""The hub: whom an envelope concerns, and nobody else."""

import pytest

from telltale.core.connection import Connection, Grant
from telltale.core.hub import Hub
from telltale.core.snapshot import Snapshot
from telltale.core.states import State
from telltale.core.wire import Envelope

ADA, GRACE = "user:1", "user:2"


def follower(*topics: str) -> Connection:
    connection = Connection(opened_at=0.0)
    connection.admit(Grant(topics=frozenset(topics), expires_at=300.0), now=0.0)
    return connection


def envelope(*topics: str, task: str = "a", seq: int = 1) -> Envelope:
    return Envelope(topics=topics, snapshot=Snapshot(id=task, attempt=1, seq=seq, state=State.RUNNING))


def test_an_envelope_reaches_all_who_follow_one_of_its_topics_and_nobody_else() -> None:
    hub, ada, grace, both = Hub(), follower(ADA), follower(GRACE), follower(ADA, "task:a")
    for connection in (ada, grace, both):
        hub.attach(connection)
    assert hub.deliver(envelope("task:a", ADA)) == {ada, both}


def test_an_envelope_without_topics_concerns_nobody() -> None:
    hub = Hub()
    hub.attach(follower(ADA))
    assert hub.deliver(envelope()) == set()


def test_a_re_read_wakes_each_whom_it_concerns_once() -> None:
    hub, ada, grace = Hub(), follower(ADA), follower(GRACE)
    hub.attach(ada)
    hub.attach(grace)
    assert hub.deliver_all([envelope(ADA), envelope(ADA, task="b"), envelope(GRACE, task="c")]) == {ada, grace}


def test_who_left_hears_no_more_and_leaving_twice_is_harmless() -> None:
    hub, ada = Hub(), follower(ADA)
    hub.attach(ada)
    hub.detach(ada)
    hub.detach(ada)
    assert hub.deliver(envelope(ADA)) == set()
    assert hub.connections == ()


def test_a_renewed_ticket_changes_what_is_heard() -> None:
    hub, ada = Hub(), follower(ADA, "task:a")
    hub.attach(ada)
    ada.admit(Grant(topics=frozenset({ADA, "task:b"}), expires_at=600.0), now=200.0)
    hub.attach(ada)
    assert hub.deliver(envelope("task:a")) == set()
    assert hub.deliver(envelope("task:b", task="b")) == {ada}
    assert hub.connections == (ada,)


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
