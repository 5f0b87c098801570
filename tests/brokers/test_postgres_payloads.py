"""The content of PostgreSQL's notifications: always within the server's limits, and read back unchanged."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telltale.brokers.base import Message
from telltale.brokers.delivery import MESSAGE_BYTES
from telltale.brokers.postgres.payloads import (
    Batch,
    InvalidPayload,
    Reassembler,
    message_part,
    probe_part,
    to_payloads,
)
from telltale.brokers.postgres.send_buffer import MAX_PAYLOADS, SendBuffer
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


def reassemble(payloads: list[bytes]) -> Batch:
    """The batch that a listener reads from these payloads; an empty one if there are none."""
    reassembler = Reassembler()
    batches = [reassembler.add(payload) for payload in payloads]
    assert [batch for batch in batches[:-1] if batch is not None] == []
    if not batches:
        return Batch()
    assert batches[-1] is not None
    return batches[-1]


def is_accepted(payload: bytes) -> bool:
    """Whether PostgreSQL accepts the payload."""
    return len(payload) < 8_000 and b"\0" not in payload and payload.decode().encode() == payload


@given(BODIES)
def test_f23_bodies_of_any_bytes_fit_into_payloads_and_are_read_back_unchanged(bodies: list[bytes]) -> None:
    payloads = to_payloads(message_part(body) for body in bodies)
    assert all(is_accepted(payload) for payload in payloads)
    assert reassemble(payloads).bodies == bodies


@given(st.lists(st.tuples(st.lists(TOPICS, min_size=1, max_size=3), TEXTS | st.binary(max_size=300) | LARGE)))
def test_the_send_buffer_is_bounded_and_keeps_each_message_or_its_topics(
    published: list[tuple[list[str], bytes]],
) -> None:
    buffer = SendBuffer()
    for topics, body in published:
        buffer.add(Message(tuple(topics), body))
    payloads = buffer.take()
    assert len(payloads) <= MAX_PAYLOADS
    assert all(is_accepted(payload) for payload in payloads)
    batch = reassemble(payloads)
    for topics, body in published:
        assert body in batch.bodies or batch.missed_any or {*topics} <= batch.missed_topics
    assert not buffer


def test_messages_that_do_not_fit_are_reported_by_topic() -> None:
    buffer = SendBuffer()
    for n in range(400):
        buffer.add(Message((f"project:{n % 60}",), b"x" * 1_000))
    batch = reassemble(buffer.take())
    assert len(batch.bodies) == 55
    assert batch.missed_topics == {f"project:{n}" for n in range(60)}
    assert not batch.missed_any


def test_topics_that_do_not_fit_are_reported_as_any_topic() -> None:
    buffer = SendBuffer()
    for n in range(100_000):
        buffer.add(Message((f"project:{n}",), b"x" * 1_000))
    batch = reassemble(buffer.take())
    assert batch.missed_any
    assert not batch.missed_topics


def test_ten_snapshots_fit_into_one_notification() -> None:
    snapshot = Snapshot(id="0" * 36, label="Import contacts", state=State.RUNNING, attempt=1, seq=7)
    body = Envelope(topics=("task:" + "0" * 36, "user:1"), snapshot=snapshot).to_bytes()
    assert len(to_payloads([message_part(body)] * 10)) == 1


@given(st.binary(max_size=100) | st.binary(max_size=100).map(lambda rest: b"telltale1 1/1 " + rest))
def test_after_an_invalid_payload_valid_ones_are_read_again(payload: bytes) -> None:
    reassembler = Reassembler()
    with suppress(InvalidPayload):
        reassembler.add(payload)
    [valid] = to_payloads([message_part(b"goes on")])
    batch = reassembler.add(valid)
    assert batch is not None
    assert batch.bodies == [b"goes on"]


def test_a_payload_without_its_predecessors_is_refused() -> None:
    first, second, third = to_payloads([message_part(b"x" * 16_384), message_part("é".encode() * 1_000)])
    reassembler = Reassembler()
    reassembler.add(first)
    with pytest.raises(InvalidPayload, match="number 3 of 3"):
        reassembler.add(third)
    with pytest.raises(InvalidPayload, match="number 2 of 3"):
        reassembler.add(second)


def test_the_probe_of_another_process_is_ignored() -> None:
    assert reassemble(to_payloads([probe_part(b"abc")])) == Batch()
