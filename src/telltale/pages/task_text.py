"""The text that people read about a task: a status line, a detail line, and how full its bar is.

`describe` makes the text from a snapshot, its health and the current time; it depends on nothing else but the active
language. `static/telltale/task-text.js` does the same in the browser with the messages that `catalogue` returns. Tests
check both against the cases in `tests/traces/task-text.json`. Templates get the text from the template tags. This
module knows no requests, rows or markup.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Protocol

from django.utils.formats import get_format
from django.utils.translation import get_language, gettext, gettext_noop, ngettext

from telltale.core.health import may_be_lost
from telltale.core.labels import shown_label
from telltale.core.snapshot import Progress, Snapshot
from telltale.core.states import Health, State
from telltale.pages.percent_forms import percent_form

MESSAGES: Final = {
    "task": gettext_noop("Task"),
    # Status lines. One sentence has no full stop; two or more have.
    "waiting": gettext_noop("Waiting to start"),
    "still_waiting": gettext_noop("Still waiting to start"),
    "scheduled_in": gettext_noop("Starts in {time}"),
    "no_worker": gettext_noop("Waiting for a worker"),
    "may_be_lost": gettext_noop("No worker has started it. It may have been lost."),
    "working": gettext_noop("Working"),
    "step": gettext_noop("Step {step}: {activity}"),
    "step_of": gettext_noop("Step {step} of {steps}: {activity}"),
    "quiet": gettext_noop("Still working"),
    "slow": gettext_noop("Taking longer than usual, still working"),
    "stalled": gettext_noop("Lost contact with the worker. It may recover."),
    "retrying": gettext_noop("Something went wrong. Trying again soon."),
    "retrying_in": gettext_noop("Something went wrong. Trying again in {time}."),
    "cancelling": gettext_noop("Stopping…"),
    "succeeded": gettext_noop("Done"),
    "ran_on": gettext_noop("Done. It was asked to stop, but ran on."),
    "failed": gettext_noop("Failed"),
    "cancelled": gettext_noop("Stopped"),
    "lost": gettext_noop("Interrupted before it finished"),
    # Parts of the detail line. The style sheet capitalizes the first letter of the line.
    "next": gettext_noop("next in line"),
    "asked_ago": gettext_noop("asked for {time} ago"),
    "due_ago": gettext_noop("due {time} ago"),
    "count_of_total": gettext_noop("{current} of {total}"),
    "count_so_far": gettext_noop("{count} so far"),
    "with_unit": gettext_noop("{count} {unit}"),
    "time_left": gettext_noop("{time} left"),
    "usually_takes": gettext_noop("usually takes {time}"),
    "usually_now": gettext_noop("usually {usual}; {now} so far"),
    "no_progress_for": gettext_noop("no progress reported for {time}"),
    "last_contact": gettext_noop("last contact {time} ago"),
    "safe_point": gettext_noop("the task stops at its next safe point"),
    "asked_to_stop": gettext_noop("it was asked to stop"),
    "no_cancel": gettext_noop("can't be stopped now: {reason}"),
    "took": gettext_noop("took {time}"),
    "count_in_time": gettext_noop("{count} in {time}"),
    "stopped_after": gettext_noop("stopped after {count}"),
    "stopped_in": gettext_noop("stopped in {step}"),
    "in_step": gettext_noop("in {step}"),
    "step_number": gettext_noop("step {step}"),
    "step_number_of": gettext_noop("step {step} of {steps}"),
    "step_named": gettext_noop("{step}: {stage}"),
    "after_count": gettext_noop("after {count}"),
    "reference": gettext_noop("if you report this, quote reference {code}"),
    # Durations
    "moment": gettext_noop("less than a second"),
    "few_seconds": gettext_noop("a few seconds"),
    "about_minute": gettext_noop("about a minute"),
    "under_minute": gettext_noop("less than a minute"),
    "about_hour": gettext_noop("about an hour"),
    "about_hour_and_half": gettext_noop("about an hour and a half"),
    # Actions
    "cancel": gettext_noop("Stop"),
    "try_again": gettext_noop("Try again"),
    "start_again": gettext_noop("Start again"),
    "open_result": gettext_noop("Open result"),
    "unreachable": gettext_noop("Couldn't reach the server. Try again."),
    # The page's connection to the server
    "connection_reconnecting": gettext_noop("Reconnecting…"),
    "connection_polling": gettext_noop("Updates every few seconds"),
    "connection_offline": gettext_noop("Offline. Showing the last known state."),
    "connection_ended": gettext_noop("Live updates stopped. Reload the page."),
    "not_followed": gettext_noop("No live updates for this task. Reload the page."),
    # Tray and toasts
    "tray": gettext_noop("Your tasks"),
    "tray_empty": gettext_noop("Nothing here yet. What you start appears here; how it ended stays until you clear it."),
    "all_tasks": gettext_noop("All tasks"),
    "clear": gettext_noop("Clear finished"),
    "close": gettext_noop("Close"),
    "toasts": gettext_noop("Notifications"),
    "dismiss": gettext_noop("Dismiss"),
    "open": gettext_noop("Open"),
    # The list of messages
    "new_message": gettext_noop("New"),
}

PLURALS: Final[dict[str, Callable[[int], str]]] = {
    "seconds": lambda n: ngettext("{n} second", "{n} seconds", n),
    "minutes": lambda n: ngettext("{n} minute", "{n} minutes", n),
    "hours": lambda n: ngettext("{n} hour", "{n} hours", n),
    "days": lambda n: ngettext("{n} day", "{n} days", n),
    "about_seconds": lambda n: ngettext("about {n} second", "about {n} seconds", n),
    "about_minutes": lambda n: ngettext("about {n} minute", "about {n} minutes", n),
    "about_hours": lambda n: ngettext("about {n} hour", "about {n} hours", n),
    "about_days": lambda n: ngettext("about {n} day", "about {n} days", n),
    "up_to_minutes": lambda n: ngettext("up to {n} minute", "up to {n} minutes", n),
    "up_to_hours": lambda n: ngettext("up to {n} hour", "up to {n} hours", n),
    "range_minutes": lambda n: ngettext("{low} to {n} minute", "{low} to {n} minutes", n),
    "range_hours": lambda n: ngettext("{low} to {n} hour", "{low} to {n} hours", n),
    "ahead": lambda n: ngettext("{n} task ahead", "{n} tasks ahead", n),
    "open_tasks": lambda n: ngettext("{n} not finished", "{n} not finished", n),
    "more": lambda n: ngettext("and {n} more", "and {n} more", n),
}

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
        return (_count_text(progress) if is_whole else "") or percentage(1)
    count = _count_text(progress)
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
    parts = [_count_text(snapshot.progress)]
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
    count = _count_text(progress, open_ended=False)
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


def _count_text(progress: Progress, *, open_ended: bool = True) -> str:
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


def rough_duration(seconds: float) -> str:
    """Return a rough duration: multiples of 5 seconds below a minute, then whole minutes, hours or days."""
    if seconds < 5:
        return message("few_seconds")
    if seconds <= 55:
        return plural("about_seconds", math.ceil(seconds / 5) * 5)
    if seconds < 90:
        return message("about_minute")
    if seconds < 55 * 60:
        return plural("about_minutes", _round(seconds / 60))
    if seconds < 75 * 60:
        return message("about_hour")
    if seconds < 105 * 60:
        return message("about_hour_and_half")
    if seconds < 36 * 3600:
        return plural("about_hours", _round(seconds / 3600))
    return plural("about_days", _round(seconds / 86_400))


def duration_range(seconds: float, spread: float) -> str:
    """Return a rough duration that errs by `spread` of it: a range, or an upper bound; without `spread`, one value."""
    low_s, high_s = seconds * (1 - spread), seconds * (1 + spread)
    if spread <= 0 or seconds < 5 or high_s >= 36 * 3600:
        return rough_duration(seconds)
    if high_s <= 60:
        return message("under_minute")
    unit, unit_s = ("minutes", 60) if high_s <= 90 * 60 else ("hours", 3600)
    low, high = _round_down(low_s / unit_s), _round_up(high_s / unit_s)
    return plural(f"range_{unit}", high, low=number(low)) if low > 0 else plural(f"up_to_{unit}", high)


def _round_down(value: float) -> int:
    return math.floor(value / _step(value)) * _step(value)


def _round_up(value: float) -> int:
    return math.ceil(value / _step(value)) * _step(value)


def _step(value: float) -> int:
    """The multiples to which the ends of a range are rounded."""
    return 1 if value <= 10 else 5 if value <= 30 else 10


def duration(seconds: float) -> str:
    """Return an exact duration: a time that has passed, or one that is known in advance."""
    if seconds < 1:
        return message("moment")
    if seconds < 90:
        return plural("seconds", math.floor(seconds))
    if seconds < 90 * 60:
        return plural("minutes", _round(seconds / 60))
    if seconds < 36 * 3600:
        return plural("hours", _round(seconds / 3600))
    return plural("days", _round(seconds / 86_400))


def _round(value: float) -> int:
    """Round halves up, as the browser does; Python's `round` rounds them to even."""
    return math.floor(value + 0.5)


def number(value: float) -> str:
    """Return the number with digits in groups of three, and one decimal below 100 if it is not whole."""
    tenths = _round(value * 10) if abs(value) < 100 else _round(value) * 10
    sign, (whole, tenth) = "-" if tenths < 0 else "", divmod(abs(tenths), 10)
    text = f"{whole:,}".replace(",", str(get_format("THOUSAND_SEPARATOR")))
    return sign + (f"{text}{get_format('DECIMAL_SEPARATOR')}{tenth}" if tenth else text)


def percentage(share: float) -> str:
    """Return the share as whole per cent, rounded down, as the active language writes it: "44%" or "44 %"."""
    return _fill(percent_form(get_language() or ""), {"n": number(math.floor(share * 100))})


def message(key: str, **values: str) -> str:
    """Return the message in the active language."""
    return _fill(gettext(MESSAGES[key]), values)


def plural(key: str, n: int, **values: str) -> str:
    """Return the message for `n` in the active language."""
    return _fill(PLURALS[key](n), {"n": number(n), **values})


def _fill(template: str, values: dict[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda match: values.get(match[1], match[0]), template)


def catalogue() -> dict[str, Any]:
    """Return all messages in the active language, for the browser.

    A plural message is a list: the index of its rule in `rules`, then its forms. A rule is a string of 200 digits: the
    index of the form for each number from 0 to 199. For larger numbers the last two digits decide, as in every
    language that gettext supports.
    """
    return _catalogue(get_language() or "")


@lru_cache(maxsize=64)
def _catalogue(_language: str) -> dict[str, Any]:
    rules: list[str] = []
    plurals: dict[str, list[Any]] = {}
    for key, form_of in PLURALS.items():
        forms = list(dict.fromkeys(form_of(n) for n in range(200)))
        rule = "".join(str(forms.index(form_of(n))) for n in range(200))
        if rule not in rules:
            rules.append(rule)
        plurals[key] = [rules.index(rule), *forms]
    return {
        "messages": {key: gettext(text) for key, text in MESSAGES.items()},
        "plurals": plurals,
        "rules": rules,
        "percent": percent_form(get_language() or ""),
        "group": str(get_format("THOUSAND_SEPARATOR")),
        "decimal": str(get_format("DECIMAL_SEPARATOR")),
    }
