"""Snapshots: their order, their JSON and their size."""

from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telltale.core.snapshot import (
    MESSAGE_BYTES,
    REASON_BYTES,
    SHORT_BYTES,
    TEXT_BYTES,
    Progress,
    Snapshot,
    bounded,
    supersedes,
)
from telltale.core.states import State
from telltale.core.wire import encode

SNAPSHOTS = st.builds(
    Snapshot,
    id=st.just("x"),
    attempt=st.integers(1, 3),
    seq=st.integers(0, 3),
    state=st.sampled_from(State),
    label=st.text(max_size=20),
)


def newest_of(snapshots: Any) -> Snapshot | None:
    newest = None
    for snapshot in snapshots:
        if supersedes(snapshot.order, newest.order if newest else None):
            newest = snapshot
    return newest


def test_a_later_attempt_supersedes_an_end_and_an_end_supersedes_running_snapshots() -> None:
    def snapshot(attempt: int, state: State, seq: int) -> Snapshot:
        return Snapshot(id="x", attempt=attempt, seq=seq, state=state)

    in_order = [
        snapshot(1, State.QUEUED, 0),
        snapshot(1, State.RUNNING, 900),
        snapshot(1, State.LOST, 3),
        snapshot(2, State.QUEUED, 0),
        snapshot(2, State.RUNNING, 1),
    ]
    for shuffled in permutations(in_order):
        assert newest_of(shuffled) is in_order[-1]


@given(st.lists(SNAPSHOTS, min_size=1, max_size=8), st.randoms())
def test_f40_the_newest_snapshot_is_the_same_in_any_order_and_with_repetitions(
    snapshots: list[Snapshot], random: Any
) -> None:
    shuffled = snapshots + snapshots
    random.shuffle(shuffled)
    assert newest_of(shuffled).order == newest_of(snapshots).order == max(s.order for s in snapshots)


@given(SNAPSHOTS, SNAPSHOTS)
def test_of_two_snapshots_one_supersedes_unless_their_order_is_equal(one: Snapshot, other: Snapshot) -> None:
    assert not (supersedes(one.order, other.order) and supersedes(other.order, one.order))
    assert supersedes(one.order, other.order) or supersedes(other.order, one.order) or one.order == other.order


@given(SNAPSHOTS)
def test_a_snapshot_read_back_from_json_is_the_same(snapshot: Snapshot) -> None:
    assert Snapshot.from_json(snapshot.to_json()) == snapshot


def test_f38_unknown_keys_of_a_newer_sender_are_ignored() -> None:
    data = Snapshot(id="x", attempt=1, seq=0, state=State.QUEUED, usual_s=(1.0, 2.0)).to_json()
    data["progress"]["new_key"] = data["new_key"] = "value"
    assert Snapshot.from_json(data).usual_s == (1.0, 2.0)


@given(st.text(), st.integers(10, 50))
def test_a_bounded_text_fits_and_is_the_whole_text_or_its_beginning(text: str, limit: int) -> None:
    cut = bounded(text, limit)
    assert len(encode(cut).encode()) - len('""') <= limit
    shown = "".join(c for c in text if c in "\n\t" or not (ord(c) < 32 or ord(c) == 127))
    kept = shown.encode("utf-8", "ignore").decode()
    assert cut == kept or (cut.endswith("…") and kept.startswith(cut[:-1]))


def test_a_cut_splits_no_character() -> None:
    assert bounded("ä" * 2_000) == "ä" * 1_022 + "…"


@pytest.mark.parametrize("character", ["x", "\x01", '"', "\\", "🛫", "\u2028"])
def test_f43_a_snapshot_with_the_longest_texts_stays_below_8_kib(character: str) -> None:
    long, short = bounded(character * 9_000), bounded(character * 9_000, SHORT_BYTES)
    message, reason = bounded(character * 9_000, MESSAGE_BYTES), bounded(character * 9_000, REASON_BYTES)
    snapshot = Snapshot(
        id="4b8e1c9a-0000-4000-8000-000000000000",
        attempt=999,
        seq=10**9,
        state=State.FAILED,
        name=short,
        label=short,
        progress=Progress(message=message, unit=short, stage=short, current=1e14, total=1e14, fraction=1 / 3),
        error=long,
        result="/" + "x" * TEXT_BYTES,
        no_cancel=reason,
        reference="ABCDEF",
    )
    assert len(encode(snapshot.to_json()).encode()) <= 8_192
