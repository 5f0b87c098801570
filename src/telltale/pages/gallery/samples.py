"""The tasks of the gallery: one for each state that a page can show, runs that move, and recorded ones. They are in no
database.

A sample is made anew for each `now`, so that what it says of its past stays true while the page is open.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from uuid import NAMESPACE_URL, UUID, uuid5

from telltale.core.states import State
from telltale.models import TaskState
from telltale.owners import Owner
from telltale.pages.gallery.recorded import recorded_runs

ROWS: Final = 28_299


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A task to show. `columns`: those of its row at a time, in seconds since 1970."""

    title: str
    columns: Callable[[float], dict[str, Any]]

    @property
    def id(self) -> UUID:
        """The id of its task, always the same."""
        return uuid5(NAMESPACE_URL, f"telltale:gallery:{self.title}")

    def task(self, now: float, owner: Owner) -> TaskState:
        """Return its row at `now`, as a task of `owner`."""
        common = {
            "runner": "gallery",
            "name": "gallery.import_airports",
            "label": "Import airports",
            "seq": int(now),
            "created_at": now - 300,
            "owner_id": owner.user_id,
            "session": owner.session,
        }
        return TaskState(id=self.id, **{**common, **self.columns(now)})


def samples(*, speed: float = 1.0) -> dict[str, list[Sample]]:
    """Return all samples, by the heading under which the page shows them. `speed`: of the runs that move."""
    return {
        "Waiting": _waiting_samples(),
        "Running": _running_samples(),
        "Not as usual": _unusual_samples(),
        "Ended": _ended_samples(),
        "Texts": _text_samples(),
        "Moving": _moving_samples(speed),
        "Recorded": _recorded_samples(speed),
    }


def _waiting_samples() -> list[Sample]:
    return [
        Sample(title="Queued", columns=lambda now: _queued(now)),
        Sample(title="Next in line", columns=lambda now: _queued(now, ahead=0)),
        Sample(title="Eight tasks ahead", columns=lambda now: _queued(now, waited_s=45, ahead=8)),
        Sample(title="No worker", columns=lambda now: _queued(now, waited_s=240, is_listening=False)),
        Sample(title="Scheduled", columns=lambda now: _queued(now, due_at=now + 2_700)),
        Sample(title="Possibly lost", columns=lambda now: _queued(now, waited_s=600, missing_since=now - 300)),
        Sample(title="Cancelled while it waits", columns=lambda now: _queued(now, cancel_requested=True)),
    ]


def _running_samples() -> list[Sample]:
    return [
        Sample(title="Just started", columns=lambda now: _running(now)),
        Sample(title="Count and total", columns=lambda now: _running(now, progress=_count(12_400))),
        Sample(title="Time left", columns=lambda now: _running(now, progress=_count(20_000), remaining_s=18.0)),
        Sample(
            title="Uncertain time left",
            columns=lambda now: _running(now, progress=_count(4_000), remaining_s=600.0, remaining_spread=0.4),
        ),
        Sample(title="Count without a total", columns=lambda now: _running(now, progress=_count(12_400, of=None))),
        Sample(title="Usual duration only", columns=lambda now: _running(now, ran_s=50, usual_s=[120.0, 180.0])),
        Sample(title="A stage", columns=lambda now: _running(now, progress=_stage(1, "Reading", 6_000))),
        Sample(
            title="The last stage, with a message",
            columns=lambda now: _running(
                now, progress={**_stage(2, "Finding neighbours", 9_000), "message": "EDDF Frankfurt"}
            ),
        ),
        Sample(
            title="Can't be cancelled now",
            columns=lambda now: _running(now, progress=_count(28_000), no_cancel="the file is being saved"),
        ),
    ]


def _unusual_samples() -> list[Sample]:
    return [
        Sample(title="Quiet", columns=lambda now: _running(now, ran_s=240, moved_s=130, progress=_count(12_400))),
        Sample(
            title="Slow",
            columns=lambda now: _running(now, ran_s=360, progress=_count(12_400), usual_s=[120.0, 180.0]),
        ),
        Sample(title="Stalled", columns=lambda now: _running(now, moved_s=60, beat_s=60, progress=_count(12_400))),
        Sample(
            title="Stalled and being cancelled",
            columns=lambda now: _running(now, moved_s=60, beat_s=60, progress=_count(12_400), cancel_requested=True),
        ),
        Sample(
            title="Being cancelled",
            columns=lambda now: _running(now, progress=_count(12_400), cancel_requested=True),
        ),
        Sample(
            title="Trying again",
            columns=lambda now: {
                "state": State.RETRYING,
                "attempt": 2,
                "started_at": now - 60,
                "due_at": now + 20,
                "error": "The server of the airports did not answer.",
            },
        ),
    ]


def _ended_samples() -> list[Sample]:
    return [
        Sample(title="Succeeded", columns=lambda now: _ended(now, State.SUCCEEDED, progress=_count(ROWS))),
        Sample(
            title="Succeeded, with a result",
            columns=lambda now: _ended(now, State.SUCCEEDED, progress=_count(ROWS), result="/airports/"),
        ),
        Sample(
            title="Ran on",
            columns=lambda now: _ended(now, State.SUCCEEDED, progress=_count(ROWS), cancel_requested=True),
        ),
        Sample(
            title="Failed, in the task's words",
            columns=lambda now: _ended(
                now, State.FAILED, progress=_count(12_400), error="Row 12,401 has no code.\nAdd it, and try again."
            ),
        ),
        Sample(
            title="Failed unexpectedly",
            columns=lambda now: _ended(
                now,
                State.FAILED,
                progress=_count(12_400),
                error="An unexpected error occurred.",
                reference="K7Q2",
            ),
        ),
        Sample(
            title="Failed in a stage",
            columns=lambda now: _ended(
                now, State.FAILED, progress=_stage(1, "Reading", 23_999), error="The file ends in a row."
            ),
        ),
        Sample(title="Cancelled", columns=lambda now: _ended(now, State.CANCELLED, progress=_count(12_400))),
        Sample(title="Lost", columns=lambda now: _ended(now, State.LOST, progress=_count(12_400))),
    ]


def _text_samples() -> list[Sample]:
    return [
        Sample(title="No label", columns=lambda now: _running(now, label="")),
        Sample(
            title="A long label",
            columns=lambda now: _running(
                now, label="Import_of_all_airports_" * 8, progress={**_count(3), "message": "Reading " * 40}
            ),
        ),
        Sample(
            title="Markup and marks of direction",
            columns=lambda now: _running(
                now, label="<b>Import</b> \u202e airports", progress={**_count(3), "unit": "<i>rows</i>"}
            ),
        ),
    ]


def _moving_samples(speed: float) -> list[Sample]:
    return [
        Sample(title="Even", columns=partial(_moving, run_s=30.0 / speed)),
        Sample(title="Two stages", columns=partial(_moving, run_s=45.0 / speed, has_stages=True)),
        Sample(title="Slow items", columns=partial(_moving, run_s=60.0 / speed, items=6)),
        Sample(title="Fails in the middle", columns=partial(_moving, run_s=20.0 / speed, fails_at=0.6)),
    ]


def _recorded_samples(speed: float) -> list[Sample]:
    return [Sample(title=f"Recorded: {run.name}", columns=partial(run.columns, speed=speed)) for run in recorded_runs()]


def _queued(now: float, *, waited_s: float = 3.0, **columns: Any) -> dict[str, Any]:
    return {"state": State.QUEUED, "seq": 0, "created_at": now - waited_s, **columns}


def _running(
    now: float, *, ran_s: float = 20.0, moved_s: float = 0.2, beat_s: float = 2.0, **columns: Any
) -> dict[str, Any]:
    """`moved_s`, `beat_s`: how long ago the task progressed, and its worker gave a sign of life."""
    times = {"started_at": now - ran_s, "moved_at": now - moved_s, "beat_at": now - beat_s}
    return {"state": State.RUNNING, "lease_until": now + 100, **times, **columns}


def _ended(now: float, state: State, *, ran_s: float = 31.0, **columns: Any) -> dict[str, Any]:
    return {"state": state, "started_at": now - ran_s - 5, "ended_at": now - 5, **columns}


def _count(current: int, *, of: int | None = ROWS) -> dict[str, Any]:
    fraction = None if of is None else current / of
    return {"current": current, "total": of, "unit": "airports", "fraction": fraction}


def _stage(step: int, name: str, current: int) -> dict[str, Any]:
    """Of two stages, of which the first has a fifth of the weight."""
    share = current / ROWS
    fraction = share * 0.2 if step == 1 else 0.2 + share * 0.8
    return {**_count(current), "fraction": fraction, "stage": name, "step": step, "steps": 2}


def _moving(
    now: float, *, run_s: float, items: int = ROWS, has_stages: bool = False, fails_at: float = 1.0
) -> dict[str, Any]:
    """A run that begins again five seconds after its end, as the next attempt."""
    attempt, at_s = divmod(now, run_s + 5.0)
    share, seq = min(at_s / run_s, fails_at), int(at_s * 10)
    columns = {"attempt": int(attempt % 1_000_000) + 1, "seq": seq, "started_at": now - at_s}
    progress = _moving_progress(share, items, has_stages)
    if share < fails_at:
        left_s = run_s * (1.0 - share) if share > 0.1 else None
        return {**_running(now, progress=progress, remaining_s=left_s), **columns}
    ended = {"progress": progress, "ended_at": now - at_s + run_s * fails_at}
    if fails_at < 1.0:
        return {"state": State.FAILED, "error": "The disk is full.", **columns, **ended}
    return {"state": State.SUCCEEDED, **columns, **ended}


def _moving_progress(share: float, items: int, has_stages: bool) -> dict[str, Any]:
    if not has_stages:
        return {**_count(int(share * items), of=items), "fraction": share}
    if share < 0.2:
        return _stage(1, "Reading", int(share / 0.2 * ROWS))
    return _stage(2, "Finding neighbours", int((share - 0.2) / 0.8 * ROWS))
