"""Envelopes and JSON: what is read back is the same, and malformed input is refused."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telltale.core.snapshot import Snapshot
from telltale.core.states import State
from telltale.core.topics import InvalidTopic, parse, session_topic, task_topic, user_topic
from telltale.core.wire import INBOUND_BYTES, Envelope, Event, Malformed, Notice, decode, encode

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    "envelope",
    [
        Envelope(topics=("task:1", "user:7"), snapshot=Snapshot(id="1", attempt=1, seq=0, state=State.QUEUED)),
        Envelope(topics=("user:7",), notice=Notice(id="n", topic="user:7", level="info", text="Zürich\n🛫")),
        Envelope(topics=("project:7",), event=Event(topic="project:7", name="x", data=[1, {"a": None}])),
        Envelope(topics=("telltale:cancellations",), cancel="1"),
    ],
)
def test_an_envelope_read_back_from_bytes_is_the_same(envelope: Envelope) -> None:
    assert Envelope.from_bytes(envelope.to_bytes()) == envelope


@given(JSON)
def test_the_data_of_an_event_arrives_as_it_was_sent(data: Any) -> None:
    envelope = Envelope(topics=("a:b",), event=Event(topic="a:b", name="x", data=data))
    assert Envelope.from_bytes(envelope.to_bytes()).event == envelope.event


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_numbers_that_browsers_cant_read_are_not_encoded(number: float) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        encode({"n": number})


@pytest.mark.parametrize(
    "raw", [b"", b"x", b"[]", b"7", b'"text"', b"{", b"\xff\xfe", "[" * 10_000, "{" * 10_000, "1" * 9_000]
)
def test_a_message_that_is_no_json_object_is_malformed(raw: bytes | str) -> None:
    with pytest.raises(Malformed):
        decode(raw)


def test_a_message_over_the_limit_is_not_read() -> None:
    with pytest.raises(Malformed, match="at most 16,384"):
        decode(encode({"a": "x" * INBOUND_BYTES}))


@given(st.binary(max_size=200))
def test_s34_foreign_bytes_from_a_shared_broker_are_malformed(raw: bytes) -> None:
    with pytest.raises(Malformed):
        Envelope.from_bytes(raw)


@given(JSON)
def test_foreign_json_from_a_shared_broker_is_malformed(data: Any) -> None:
    raw = json.dumps({"topics": data, "snapshot": data, "notice": data, "event": data}).encode()
    with pytest.raises(Malformed):
        Envelope.from_bytes(raw)


def test_topics_are_parsed_as_they_are_made() -> None:
    assert parse(task_topic("4b8e")) == ("task", "4b8e")
    assert parse(user_topic(7)) == ("user", "7")
    assert parse(session_topic("abc")) == ("session", "abc")
    assert parse("project:7") == ("project", "7")


@pytest.mark.parametrize("topic", ["", "project", ":7", "project:", "a b:c", "x" * 300 + ":1"])
def test_s18_a_text_of_another_form_is_no_topic(topic: str) -> None:
    with pytest.raises(InvalidTopic):
        parse(topic)
