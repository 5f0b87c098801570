"""The text that people read about a task: a status line, a detail line, and how full its bar is.

`describe` makes the text from a snapshot, its health and the current time; it depends on nothing else but the active
language. `static/telltale/task-text.js` does the same in the browser with the messages of `catalogue.py`. Tests check
both against the cases in `tests/traces/task-text.json`. Templates get the text from the template tags. This module
knows no requests, rows or markup.
"""

from dataclasses import dataclass
from typing import Final, Protocol

from telltale.core.health import may_be_lost
from telltale.core.labels import shown_label
from telltale.core.snapshot import Progress, Snapshot
from telltale.core.states import Health, State
from telltale.pages.catalogue import message, number, percentage, plural
from telltale.pages.durations import duration, duration_range, rough_duration

STILL_WAITING_S: Final = 30.0
"""The status of a task that has been queued for longer than this is "Still waiting to start"."""
NOTHING_KNOWN_S: Final = 2.0
"""For so long after its start, a bar without progress stays empty: the first count may be on its way."""
MAX_BY_TIME: Final = 0.95
"""Upper bound of a bar that is filled from the task's usual duration alone."""
MAX_BEFORE_END: Final = 0.99
"""Upper bound of every bar until its task has succeeded."""


class Named(Protocol):
    """A snapshot, or the row of a task."""

    @property
    def label(self) -> str: ...

    @property
    def name(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskText:
    """The text to show for one snapshot at one time."""

    label: str
    """The task's name for people, never empty."""
    status: str
    detail: str
    filled: float | None
    """How full the bar is, 0 to 1; None while a running task has neither reported progress nor a usual duration, from
    a moment after its start."""
    figure: str
    """The percentage that the task reported; empty where the bar is filled by time alone, and after the end."""
    value_text: str
    """The bar's value as text, for screen readers; without it they read a percentage, also where that is a guess."""
    borders: tuple[float, ...]
    """The borders of stages to draw on the bar, as shares of it."""
    keeps_running: bool
    """Whether a page may say that the task keeps running without it."""


def describe(snapshot: Snapshot, health: Health | None, *, now: float) -> TaskText:
    """Return the text for `snapshot` at `now` (seconds since 1970, by the store's clock)."""
    share, status = filled(snapshot, now=now), _status(snapshot, health, now)
    is_measured = share is not None and snapshot.progress.fraction is not None
    percent = percentage(share) if share is not None and is_measured else ""
    return TaskText(
        label=label_of(snapshot),
        status=status,
        detail=_detail(snapshot, health, now),
        filled=share,
        figure="" if snapshot.ended else percent,
        value_text=_value_text(snapshot, status, percent),
        # A full bar has no parts any more.
        borders=() if snapshot.state is State.SUCCEEDED else snapshot.progress.borders,
        keeps_running=keeps_running(snapshot, health, now=now),
    )


def label_of(task: Named) -> str:
    """Return the label of a snapshot or row; one from the task's name if it is blank; "Task" without a name."""
    return shown_label(task.label, task.name) or message("task")


def keeps_running(snapshot: Snapshot, health: Health | None, *, now: float) -> bool:
    """Whether the task goes on, as far as is known: it has not ended, is not asked to stop, and has its worker."""
    is_stopping = snapshot.ended or snapshot.cancel_requested
    return not is_stopping and health is not Health.STALLED and not may_be_lost(snapshot, now=now)


def filled(snapshot: Snapshot, *, now: float) -> float | None:
    """Return how full the bar is, 0 to 1; estimated from the usual duration where the task reports no progress."""
    if snapshot.state is State.SUCCEEDED:
        return 1.0
    progress = snapshot.progress
    if progress.fraction is not None:
        return min(max(progress.fraction, 0.0), MAX_BEFORE_END)
    if snapshot.state is not State.RUNNING:
        return 0.0
    if progress.current is None and snapshot.usual_s and snapshot.usual_s[0] > 0 and snapshot.started_at is not None:
        return min(max(now - snapshot.started_at, 0.0) / snapshot.usual_s[0], MAX_BY_TIME)
    has_just_started = snapshot.started_at is not None and now - snapshot.started_at < NOTHING_KNOWN_S
    return 0.0 if has_just_started else None


def _status(snapshot: Snapshot, health: Health | None, now: float) -> str:
    state = snapshot.state
    if state is State.FAILED:
        return snapshot.error or message("failed")
    if state is State.SUCCEEDED and snapshot.cancel_requested:
        return message("ran_on")
    if snapshot.ended:
        return message(state.value)
    # Without a worker nothing stops the task either.
    if health is Health.STALLED:
        return message("stalled")
    if may_be_lost(snapshot, now=now):
        return message("may_be_lost")
    if snapshot.cancel_requested:
        return message("cancelling")
    if state is State.QUEUED:
        return _waiting_status(snapshot, now)
    if state is State.RETRYING:
        if snapshot.due_at is not None and snapshot.due_at > now:
            return message("retrying_in", time=duration(snapshot.due_at - now))
        return message("retrying")
    if health is not None and health is not Health.OK:
        return message(health.value)
    return _running_status(snapshot.progress)


def _value_text(snapshot: Snapshot, status: str, percent: str) -> str:
    progress = snapshot.progress
    if snapshot.state is State.SUCCEEDED:
        is_whole = progress.current == progress.total and not _has_steps(progress)
        return (count_text(progress) if is_whole else "") or percentage(1)
    count = count_text(progress)
    if _has_steps(progress):
        return ", ".join(part for part in (percent, _step_number(progress), count) if part)
    return count or percent or (message("failed") if snapshot.state is State.FAILED else status)


def _has_steps(progress: Progress) -> bool:
    """Whether the count is that of a part of the work."""
    return progress.step > 0 and (progress.steps is None or progress.steps > 1)


def _step_number(progress: Progress) -> str:
    if progress.steps is None:
        return message("step_number", step=number(progress.step))
    return message("step_number_of", step=number(progress.step), steps=number(progress.steps))


def _waiting_status(snapshot: Snapshot, now: float) -> str:
    if snapshot.due_at is not None and snapshot.due_at > now:
        return message("scheduled_in", time=duration(snapshot.due_at - now))
    if snapshot.is_listening is False:
        return message("no_worker")
    return message("still_waiting" if _waited_s(snapshot, now) > STILL_WAITING_S else "waiting")


def _running_status(progress: Progress) -> str:
    activity = progress.message or progress.stage or message("working")
    if not _has_steps(progress):
        return activity
    if progress.steps is None:
        return message("step", step=number(progress.step), activity=activity)
    return message("step_of", step=number(progress.step), steps=number(progress.steps), activity=activity)


def _detail(snapshot: Snapshot, health: Health | None, now: float) -> str:
    state = snapshot.state
    if snapshot.ended:
        return _ended_detail(snapshot)
    if state is State.RUNNING:
        return _joined(_running_details(snapshot, health, now))
    # A waiting task has no safe point: it is stopped at once.
    if snapshot.cancel_requested:
        return ""
    if state is State.QUEUED:
        ahead = snapshot.ahead
        place = "" if ahead is None else plural("ahead", ahead) if ahead else message("next")
        return _joined([place, _waited(snapshot, now)])
    return snapshot.error or ""


def _running_details(snapshot: Snapshot, health: Health | None, now: float) -> list[str]:
    # A clock without a value counts from the start, as for the health.
    moved_at, beat_at = (at or snapshot.started_at or now for at in (snapshot.moved_at, snapshot.beat_at))
    quiet = message("no_progress_for", time=duration(now - moved_at))
    if health is Health.STALLED:
        last_contact = message("last_contact", time=duration(now - beat_at))
        return [last_contact, message("asked_to_stop") if snapshot.cancel_requested else ""]
    if snapshot.cancel_requested:
        return [message("safe_point"), quiet if health is Health.QUIET else ""]
    parts = [count_text(snapshot.progress)]
    if health is Health.QUIET:
        parts.append(quiet)
    elif health is Health.SLOW and snapshot.usual_s and snapshot.started_at is not None:
        parts.append(
            message("usually_now", usual=rough_duration(snapshot.usual_s[0]), now=duration(now - snapshot.started_at))
        )
    else:
        parts.append(_time_left(snapshot, now))
    if snapshot.no_cancel:
        parts.append(message("no_cancel", reason=snapshot.no_cancel))
    return parts


def _ended_detail(snapshot: Snapshot) -> str:
    if snapshot.state is State.SUCCEEDED:
        return _succeeded_detail(snapshot)
    stopped = _stopped(snapshot.progress, is_said=snapshot.state is State.CANCELLED)
    if snapshot.state is State.FAILED and snapshot.reference:
        stopped.insert(0, message("reference", code=snapshot.reference))
    return _joined(stopped)


def _stopped(progress: Progress, *, is_said: bool) -> list[str]:
    """Where the task stopped; `is_said`: the status says that it did.

    The count is named after its step, because alone it would look like the whole.
    """
    count = count_text(progress, open_ended=False)
    if not _has_steps(progress):
        return [message("after_count" if is_said else "stopped_after", count=count)] if count else []
    step = _step_number(progress)
    named = message("step_named", step=step, stage=progress.stage) if progress.stage else step
    return [
        message("in_step" if is_said else "stopped_in", step=named),
        message("after_count", count=count) if count else "",
    ]


def _succeeded_detail(snapshot: Snapshot) -> str:
    if snapshot.started_at is None or snapshot.ended_at is None:
        return ""
    took = duration(snapshot.ended_at - snapshot.started_at)
    progress = snapshot.progress
    if progress.current is None or _has_steps(progress):
        return message("took", time=took)
    current = number(progress.current)
    # "1 in 3 seconds" says less than the time alone.
    if progress.unit and current == number(1):
        return message("took", time=took)
    return message("count_in_time", count=_with_unit(current, progress.unit, current), time=took)


def _time_left(snapshot: Snapshot, now: float) -> str:
    if snapshot.remaining_s is not None:
        reported_at = max(snapshot.moved_at or 0.0, snapshot.beat_at or 0.0) or now
        left_s = snapshot.remaining_s - max(now - reported_at, 0.0)
        return message("time_left", time=duration_range(left_s, snapshot.remaining_spread or 0.0))
    return message("usually_takes", time=rough_duration(snapshot.usual_s[0])) if snapshot.usual_s else ""


def count_text(progress: Progress, *, open_ended: bool = True) -> str:
    """Return "12,400 of 28,000 rows", or without a total "12,400 rows so far"; empty if nothing was counted."""
    if progress.current is None:
        return ""
    if progress.total:
        count = message("count_of_total", current=number(progress.current), total=number(progress.total))
        return _with_unit(count, progress.unit, number(progress.total))
    count = _with_unit(number(progress.current), progress.unit, number(progress.current))
    return message("count_so_far", count=count) if open_ended else count


def _with_unit(count: str, unit: str, counted: str) -> str:
    """Add the unit. It is a plural, and its singular is not known, so one thing has none: "1 of 1"."""
    return message("with_unit", count=count, unit=unit) if unit and counted != number(1) else count


def _waited(snapshot: Snapshot, now: float) -> str:
    seconds = _waited_s(snapshot, now)
    if seconds <= STILL_WAITING_S:
        return ""
    is_scheduled = snapshot.due_at is not None and snapshot.due_at > snapshot.created_at
    return message("due_ago" if is_scheduled else "asked_ago", time=duration(seconds))


def _waited_s(snapshot: Snapshot, now: float) -> float:
    """Return the seconds since the task was queued or due; 0 after the first attempt, since only that time is known."""
    return now - max(snapshot.created_at, snapshot.due_at or 0.0) if snapshot.attempt == 1 else 0.0


def _joined(parts: list[str]) -> str:
    return " · ".join(part for part in parts if part)
