"""Envelopes of foreign publishers: those that our own code makes pass, and no other reaches a page."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telltale.core import foreign
from telltale.core.foreign import check_foreign
from telltale.core.snapshot import Progress, Snapshot
from telltale.core.states import State
from telltale.core.wire import Envelope, Event, Malformed, Notice
from tests.core.test_wire import JSON

SNAPSHOT = Snapshot(id="a", attempt=2, seq=7, state=State.RUNNING, label="Zürich\n🛫", usual_s=(1.0, 2.5))
HEAD = b"t1 snapshot a 2 0 7 task:a"

OURS = [
    Envelope(topics=("task:a", "user:7"), snapshot=SNAPSHOT),
    Envelope(topics=("task:a",), snapshot=replace(SNAPSHOT, progress=Progress(fraction=0.5, current=1, steps=3))),
    Envelope(topics=("task:a",), snapshot=replace(SNAPSHOT, state=State.FAILED, error="No", ended_at=1.5, ahead=3)),
    Envelope(topics=("user:7",), notice=Notice(id="n", topic="user:7", level="info", text="Done", url="/x/")),
    Envelope(topics=("project:7",), event=Event(topic="project:7", name="x", data=[1, {"a": None}])),
    Envelope(topics=("telltale:cancellations",), cancel="a"),
]


def test_every_field_has_a_type() -> None:
    assert foreign._SNAPSHOT.keys() - {"ended"} == set(Snapshot.__slots__)
    assert foreign._PROGRESS.keys() == set(Progress.__slots__)
    assert foreign._NOTICE.keys() == set(Notice.__slots__)


def checked(raw: bytes) -> Envelope:
    envelope = Envelope.from_bytes(raw)
    check_foreign(envelope)
    return envelope


@pytest.mark.parametrize("envelope", OURS)
def test_what_our_own_code_makes_passes(envelope: Envelope) -> None:
    assert checked(envelope.to_bytes()) == envelope


@given(JSON)
def test_any_data_of_an_event_passes(data: Any) -> None:
    checked(Envelope(topics=("a:b",), event=Event(topic="a:b", name="x", data=data)).to_bytes())


@pytest.mark.parametrize(
    "text",
    [
        b"{",
        b"{}",
        b"{},{}",
        b'{"id":"a"}',
        b'{"type":"bye"}',
        b"{" + b'"a":[' * 10_000,
        b'{"a":' + b"9" * 5_000 + b"}",
        b'{"a":NaN}',
    ],
)
def test_a_text_that_is_no_snapshot_is_malformed(text: bytes) -> None:
    with pytest.raises(Malformed):
        checked(HEAD + b"\n" + text)


@pytest.mark.parametrize("borders", [[0], [1], ["0.5"], [True], [0.1] * 10, 0.5, {"0.5": 1}])
def test_borders_of_stages_that_no_bar_has_are_malformed(borders: Any) -> None:
    data = SNAPSHOT.to_json()
    good, bad = (data | {"progress": data["progress"] | {"borders": value}} for value in ([0.25, 0.5], borders))
    assert checked(HEAD + b"\n" + json.dumps(good).encode()).snapshot.progress.borders == (0.25, 0.5)
    with pytest.raises(Malformed):
        checked(HEAD + b"\n" + json.dumps(bad).encode())


@given(field=st.sampled_from(sorted(SNAPSHOT.to_json())), value=JSON)
def test_a_snapshot_with_a_field_of_another_kind_is_malformed_or_as_its_head_says(field: str, value: Any) -> None:
    data = SNAPSHOT.to_json() | {field: value}
    try:
        envelope = checked(HEAD + b"\n" + json.dumps(data).encode())
    except Malformed:
        return
    assert envelope.snapshot is not None
    assert (envelope.snapshot.id, envelope.snapshot.order) == ("a", (2, False, 7))
    assert type(envelope.snapshot.label) is str
    assert all(type(number) in (int, float) for number in envelope.snapshot.usual_s or ())


@given(field=st.sampled_from(sorted(Progress().to_json())), value=st.lists(st.integers()) | st.booleans())
def test_progress_with_a_field_of_another_kind_is_malformed(field: str, value: Any) -> None:
    data = SNAPSHOT.to_json()
    data["progress"][field] = value
    with pytest.raises(Malformed):
        checked(HEAD + b"\n" + json.dumps(data).encode())


@pytest.mark.parametrize(
    "raw",
    [
        OURS[0].to_bytes().replace(b" a 2 0 7 ", b" b 2 0 7 "),
        OURS[0].to_bytes().replace(b" a 2 0 7 ", b" a 1 0 7 "),
        OURS[0].to_bytes().replace(b" a 2 0 7 ", b" a 2 1 7 "),
        OURS[3].to_bytes().replace(b" user:7\n", b" user:8\n"),
        OURS[4].to_bytes().replace(b" project:7\n", b" user:8\n"),
    ],
)
def test_a_text_that_differs_from_its_head_is_malformed(raw: bytes) -> None:
    with pytest.raises(Malformed, match="head"):
        checked(raw)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "9" * 400])
def test_a_number_that_browsers_cant_read_is_malformed(number: str) -> None:
    raw = OURS[0].to_bytes().replace(b'"created_at":0.0', b'"created_at":' + number.encode())
    with pytest.raises(Malformed):
        checked(raw)


def test_what_is_too_deep_for_a_browser_is_malformed() -> None:
    deep = b'{"topic":"a:b","name":"x","data":' + b"[" * 100 + b"]" * 100 + b"}"
    with pytest.raises(Malformed, match="within each other"):
        checked(b"t1 event - 0 0 0 a:b\n" + deep)
