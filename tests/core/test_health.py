"""Health, from the clock of the process and the clock of the work; and which tasks can be cancelled."""

import json
from pathlib import Path
from typing import Any

import pytest

from telltale.core.health import Limits, can_cancel, health, offers_cancel
from telltale.core.snapshot import Snapshot
from telltale.core.states import Health, State

LIMITS = Limits(quiet_s=60, stalled_s=45, lease_s=105)


def running(**clocks: object) -> Snapshot:
    return Snapshot(id="x", attempt=1, seq=1, state=State.RUNNING, started_at=0.0, **clocks)


@pytest.mark.parametrize(
    ("now", "clocks", "expected"),
    [
        (10, {"beat_at": 9, "moved_at": 9}, Health.OK),
        (45, {"beat_at": 0, "moved_at": 0}, Health.OK),
        (46, {"beat_at": 0, "moved_at": 46}, Health.STALLED),
        (46, {}, Health.STALLED),
        (61, {"beat_at": 60, "moved_at": 0}, Health.QUIET),
        (61, {"beat_at": 60}, Health.QUIET),
        (100, {"beat_at": 99, "moved_at": 99, "usual_s": (50, 90)}, Health.SLOW),
        (90, {"beat_at": 89, "moved_at": 89, "usual_s": (50, 90)}, Health.OK),
        (70, {"beat_at": 69, "moved_at": 0, "usual_s": (50, 90)}, Health.QUIET),
        (200, {"beat_at": 199, "moved_at": 0, "usual_s": (50, 90)}, Health.SLOW),
        (200, {"beat_at": 0, "moved_at": 0, "usual_s": (50, 90)}, Health.STALLED),
        (9_999, {"beat_at": 9_998, "moved_at": 9_998}, Health.OK),
    ],
)
def test_the_worst_health_that_applies_is_shown(now: float, clocks: dict[str, object], expected: Health) -> None:
    assert health(running(**clocks), now=now, limits=LIMITS) is expected


@pytest.mark.parametrize("state", [state for state in State if state is not State.RUNNING])
def test_a_task_that_does_not_run_has_no_health(state: State) -> None:
    snapshot = Snapshot(id="x", attempt=1, seq=1, state=state, started_at=0.0, beat_at=0.0)
    assert health(snapshot, now=1_000, limits=LIMITS) is None


def test_a_beat_in_the_future_is_ok() -> None:
    assert health(running(beat_at=500, moved_at=500), now=100, limits=LIMITS) is Health.OK


CANCEL_CASES = json.loads((Path(__file__).parent.parent / "traces" / "can-cancel.json").read_text(encoding="utf-8"))[
    "cases"
]


@pytest.mark.parametrize("case", CANCEL_CASES, ids=lambda case: case["about"])
def test_the_server_and_the_page_agree_whether_a_task_can_be_cancelled(case: dict[str, Any]) -> None:
    snapshot = Snapshot.from_json({"id": "x", "attempt": 1, "seq": 1, **case["snapshot"]})
    assert snapshot.ended == case["snapshot"]["ended"]
    assert (offers_cancel(snapshot), can_cancel(snapshot)) == (case["offers_cancel"], case["can_cancel"])


def test_the_cases_of_cancelling_include_every_state() -> None:
    assert {case["snapshot"]["state"] for case in CANCEL_CASES} == set(State)
