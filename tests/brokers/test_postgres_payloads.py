"""What PostgreSQL's notifications hold: within the server's bounds whatever is published, and read back whole."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telltale.brokers.base import Message
from telltale.brokers.delivery import MESSAGE_BYTES
from telltale.brokers.postgres.payloads import Arrived, Joiner, Unreadable, message, payloads, token
from telltale.brokers.postgres.pending import AT_ONCE, Pending
from telltale.core.snapshot import Snapshot
from telltale.core.states import State
from telltale.core.wire import Envelope

TEXTS = st.text(st.characters(codec="utf-8"), max_size=300).map(str.encode)
LARGE = st.builds(
    lambda seed, times: (seed * times)[:MESSAGE_BYTES],
    TEXTS | st.binary(min_size=1, max_size=50),
    st.integers(1, 4_000),
)
BODIES = st.lists(TEXTS | st.binary(max_size=300) | LARGE, max_size=60)
TOPICS = st.text(min_size=1, max_size=128) | st.integers(0, 10**30).map("project:{}".format)


def joined(sent: list[bytes]) -> Arrived:
    """What a listener takes from these payloads; nothing, if there are none."""
    joiner = Joiner()
    arrived = [joiner.add(payload) for payload in sent]
    assert [one for one in arrived[:-1] if one is not None] == []
    if not arrived:
        return Arrived()
    assert arrived[-1] is not None
    return arrived[-1]


def takes(payload: bytes) -> bool:
    """Whether PostgreSQL takes it."""
    return len(payload) < 8_000 and b"\0" not in payload and payload.decode().encode() == payload


@given(BODIES)
def test_bodies_of_any_bytes_are_read_back_from_what_the_server_takes(bodies: list[bytes]) -> None:
    sent = payloads(message(body) for body in bodies)
    assert all(takes(payload) for payload in sent)
    assert joined(sent).bodies == bodies


@given(st.lists(st.tuples(st.lists(TOPICS, min_size=1, max_size=3), TEXTS | st.binary(max_size=300) | LARGE)))
def test_what_waits_is_bounded_and_forgets_nothing(published: list[tuple[list[str], bytes]]) -> None:
    pending = Pending()
    for topics, body in published:
        pending.add(Message(tuple(topics), body))
    sent = pending.take()
    assert len(sent) <= AT_ONCE
    assert all(takes(payload) for payload in sent)
    arrived = joined(sent)
    for topics, body in published:
        assert body in arrived.bodies or arrived.everything or {*topics} <= arrived.topics
    assert not pending


def test_more_than_there_is_room_for_is_named_by_topic() -> None:
    pending = Pending()
    for n in range(400):
        pending.add(Message((f"project:{n % 60}",), b"x" * 1_000))
    arrived = joined(pending.take())
    assert len(arrived.bodies) == 55
    assert arrived.topics == {f"project:{n}" for n in range(60)}
    assert not arrived.everything


def test_more_topics_than_there_is_room_for_are_one_mark() -> None:
    pending = Pending()
    for n in range(100_000):
        pending.add(Message((f"project:{n}",), b"x" * 1_000))
    arrived = joined(pending.take())
    assert arrived.everything
    assert not arrived.topics


def test_a_dozen_snapshots_fit_into_one_notification() -> None:
    snapshot = Snapshot(id="0" * 36, label="Import contacts", state=State.RUNNING, attempt=1, seq=7)
    body = Envelope(topics=("task:" + "0" * 36, "user:1"), snapshot=snapshot).to_bytes()
    assert len(payloads([message(body)] * 12)) == 1


@given(st.binary(max_size=100) | st.binary(max_size=100).map(lambda rest: b"telltale1 1/1 " + rest))
def test_a_strangers_notification_is_refused_and_breaks_nothing(payload: bytes) -> None:
    joiner = Joiner()
    with suppress(Unreadable):
        joiner.add(payload)
    [whole] = payloads([message(b"goes on")])
    arrived = joiner.add(whole)
    assert arrived is not None
    assert arrived.bodies == [b"goes on"]


def test_a_notification_whose_neighbours_are_missing_is_refused() -> None:
    first, second, third = payloads([message(b"x" * 16_384), message("é".encode() * 1_000)])
    joiner = Joiner()
    joiner.add(first)
    with pytest.raises(Unreadable, match="number 3 of 3"):
        joiner.add(third)
    with pytest.raises(Unreadable, match="number 2 of 3"):
        joiner.add(second)


def test_a_process_that_tries_whether_it_hears_tells_the_others_nothing() -> None:
    assert joined(payloads([token(b"abc")])) == Arrived()
