"""What people read about a task: one status line, one quiet line, and how far its bar is filled.

Pure but for the language: snapshot, health and the present instant in, words out. `static/telltale/task-text.js`
says the same from the same messages, which `catalogue` hands to it; both are held to `tests/traces/words.json`.
Templates ask it by the tags; it knows no request, no row and no markup.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from django.utils.formats import get_format
from django.utils.translation import get_language, gettext, gettext_noop, ngettext

from telltale.core.snapshot import Progress, Snapshot
from telltale.core.states import Health, State

MESSAGES: Final = {
    # status lines
    "waiting": gettext_noop("Waiting to start"),
    "still_waiting": gettext_noop("Still waiting to start"),
    "scheduled_in": gettext_noop("Starts in {time}"),
    "no_worker": gettext_noop("Waiting: nobody is there to begin it"),
    "next": gettext_noop("next in line"),
    "working": gettext_noop("Working"),
    "step": gettext_noop("Step {step}: {what}"),
    "step_of": gettext_noop("Step {step} of {steps}: {what}"),
    "quiet": gettext_noop("Still working"),
    "slow": gettext_noop("Taking longer than usual, but still going"),
    "stalled": gettext_noop("We lost contact with it. It may come back"),
    "retrying": gettext_noop("Something went wrong. Trying again soon"),
    "retrying_in": gettext_noop("Something went wrong. Trying again in {time}"),
    "stopping": gettext_noop("Stopping…"),
    "succeeded": gettext_noop("Done"),
    "failed": gettext_noop("It didn't work"),
    "cancelled": gettext_noop("Stopped"),
    "lost": gettext_noop("It stopped without finishing"),
    # quiet lines
    "waiting_for": gettext_noop("waiting for {time}"),
    "of": gettext_noop("{current} of {total}"),
    "so_far": gettext_noop("{count} so far"),
    "with_unit": gettext_noop("{count} {unit}"),
    "percent": gettext_noop("{n} %"),
    "left": gettext_noop("{time} left"),
    "usually_takes": gettext_noop("usually takes {time}"),
    "usually_now": gettext_noop("usually {usual}; now {now}"),
    "nothing_for": gettext_noop("nothing reported for {time}"),
    "heard_ago": gettext_noop("last heard of {time} ago"),
    "safe_point": gettext_noop("it stops at the next safe point"),
    "no_cancel": gettext_noop("can't be stopped now: {why}"),
    "in_time": gettext_noop("in {time}"),
    "count_in_time": gettext_noop("{count} in {time}"),
    "after": gettext_noop("after {count}"),
    "reference": gettext_noop("reference {code}"),
    # times
    "moment": gettext_noop("less than a second"),
    "few_seconds": gettext_noop("a few seconds"),
    "about_minute": gettext_noop("about a minute"),
    "about_hour": gettext_noop("about an hour"),
    "about_hour_and_half": gettext_noop("about an hour and a half"),
    # actions
    "cancel": gettext_noop("Cancel"),
    "try_again": gettext_noop("Try again"),
    "start_again": gettext_noop("Start again"),
    "open_result": gettext_noop("Open the result"),
    "not_done": gettext_noop("That didn't reach the server. Try once more"),
    # the line to the server
    "line_reconnecting": gettext_noop("reconnecting…"),
    "line_polling": gettext_noop("updating every few seconds"),
    "line_offline": gettext_noop("offline: last known state"),
    "line_ended": gettext_noop("not live any more: reload the page"),
    # tray and toasts
    "tray": gettext_noop("Your tasks"),
    "tray_empty": gettext_noop("Nothing here. What you start shows up in this place, and stays until it is done."),
    "clear": gettext_noop("Clear finished"),
    "close": gettext_noop("Close"),
    "toasts": gettext_noop("Messages"),
    "dismiss": gettext_noop("Dismiss"),
    "open": gettext_noop("Open it"),
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
    "ahead": lambda n: ngettext("{n} task is before it", "{n} tasks are before it", n),
    "open_tasks": lambda n: ngettext("{n} task is running", "{n} tasks are running", n),
    "more": lambda n: ngettext("and {n} more", "and {n} more", n),
}

STILL_WAITING_S: Final = 30.0
"""Queued for longer than this, a task is said to wait *still*."""
BY_TIME: Final = 0.95
"""A bar filled by the usual time alone goes no further than this."""
BEFORE_END: Final = 0.99
"""No bar is fuller than this before its task has succeeded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskText:
    """What one snapshot says to people at one moment."""

    status: str
    quiet: str
    filled: float | None
    """How full the bar is, 0 to 1; None while nothing at all is known of a running task."""
    figure: str
    """The percentage to be read beside the label; empty where the bar is filled by time alone, and at the end."""
    value_text: str
    """The bar's value in words, for those who hear it."""


def tell(snapshot: Snapshot, health: Health | None, *, now: float) -> TaskText:
    """What to show of `snapshot` at `now`, by the store's clock."""
    share = filled(snapshot, now=now)
    percent = say("percent", n=number(math.floor(share * 100))) if share is not None else ""
    is_measured = snapshot.progress.fraction is not None and not snapshot.ended
    return TaskText(
        status=_status(snapshot, health, now),
        quiet=_quiet(snapshot, health, now),
        filled=share,
        figure=percent if is_measured else "",
        value_text=_done(snapshot.progress) or percent,
    )


def filled(snapshot: Snapshot, *, now: float) -> float | None:
    """How full the bar is; by the usual time where the task itself reports nothing."""
    if snapshot.state is State.SUCCEEDED:
        return 1.0
    progress = snapshot.progress
    if progress.fraction is not None:
        return min(max(progress.fraction, 0.0), BEFORE_END)
    if snapshot.state is not State.RUNNING:
        return 0.0
    if progress.current is None and snapshot.usual_s and snapshot.usual_s[0] > 0 and snapshot.started_at is not None:
        return min(max(now - snapshot.started_at, 0.0) / snapshot.usual_s[0], BY_TIME)
    return None


def _status(snapshot: Snapshot, health: Health | None, now: float) -> str:
    state = snapshot.state
    if state is State.FAILED:
        return snapshot.error or say("failed")
    if snapshot.ended:
        return say(state.value)
    if snapshot.cancel_requested:
        return say("stopping")
    if state is State.QUEUED:
        return _waiting(snapshot, now)
    if state is State.RETRYING:
        if snapshot.due_at is not None and snapshot.due_at > now:
            return say("retrying_in", time=span(snapshot.due_at - now))
        return say("retrying")
    if health is not None and health is not Health.OK:
        return say(health.value)
    return _doing(snapshot.progress)


def _waiting(snapshot: Snapshot, now: float) -> str:
    if snapshot.due_at is not None and snapshot.due_at > now:
        return say("scheduled_in", time=span(snapshot.due_at - now))
    if snapshot.is_listening is False:
        return say("no_worker")
    return say("still_waiting" if _waited_s(snapshot, now) > STILL_WAITING_S else "waiting")


def _doing(progress: Progress) -> str:
    what = progress.message or progress.stage or say("working")
    if not progress.step or (progress.steps is not None and progress.steps < 2):
        return what
    if progress.steps is None:
        return say("step", step=number(progress.step), what=what)
    return say("step_of", step=number(progress.step), steps=number(progress.steps), what=what)


def _quiet(snapshot: Snapshot, health: Health | None, now: float) -> str:
    progress, state = snapshot.progress, snapshot.state
    if snapshot.ended:
        return _ended(snapshot)
    if snapshot.cancel_requested:
        return say("safe_point")
    if state is State.QUEUED:
        waited_s, ahead = _waited_s(snapshot, now), snapshot.ahead
        place = "" if ahead is None else plural("ahead", ahead) if ahead else say("next")
        return _joined([place, say("waiting_for", time=span(waited_s)) if waited_s > STILL_WAITING_S else ""])
    if state is State.RETRYING:
        return snapshot.error or ""
    if health is Health.STALLED:
        return say("heard_ago", time=span(now - (snapshot.beat_at or now)))
    parts = [_done(progress)]
    if health is Health.QUIET:
        parts.append(say("nothing_for", time=span(now - (snapshot.moved_at or now))))
    elif health is Health.SLOW and snapshot.usual_s and snapshot.started_at is not None:
        parts.append(say("usually_now", usual=about(snapshot.usual_s[0]), now=span(now - snapshot.started_at)))
    else:
        parts.append(_left(snapshot, now))
    if snapshot.no_cancel:
        parts.append(say("no_cancel", why=snapshot.no_cancel))
    return _joined(parts)


def _ended(snapshot: Snapshot) -> str:
    current, unit = snapshot.progress.current, snapshot.progress.unit
    if snapshot.state is State.SUCCEEDED:
        if snapshot.started_at is None or snapshot.ended_at is None:
            return ""
        took = span(snapshot.ended_at - snapshot.started_at)
        return say("in_time", time=took) if current is None else _count_in_time(_with_unit(number(current), unit), took)
    done = _done(snapshot.progress, open_ended=False)
    after = say("after", count=done) if done else ""
    if snapshot.state is State.FAILED:
        return _joined([say("reference", code=snapshot.reference) if snapshot.reference else "", after])
    return after


def _count_in_time(count: str, time: str) -> str:
    return say("count_in_time", count=count, time=time)


def _left(snapshot: Snapshot, now: float) -> str:
    if snapshot.remaining_s is not None:
        told_at = max(snapshot.moved_at or 0.0, snapshot.beat_at or 0.0) or now
        return say("left", time=about(snapshot.remaining_s - max(now - told_at, 0.0)))
    return say("usually_takes", time=about(snapshot.usual_s[0])) if snapshot.usual_s else ""


def _done(progress: Progress, *, open_ended: bool = True) -> str:
    """12,400 of 28,000 rows; 12,400 rows so far; or nothing."""
    if progress.current is None:
        return ""
    if progress.total:
        return _with_unit(say("of", current=number(progress.current), total=number(progress.total)), progress.unit)
    count = _with_unit(number(progress.current), progress.unit)
    return say("so_far", count=count) if open_ended else count


def _with_unit(count: str, unit: str) -> str:
    return say("with_unit", count=count, unit=unit) if unit else count


def _waited_s(snapshot: Snapshot, now: float) -> float:
    """Since it was asked for, or due; 0 for a later attempt, of which only the first asking is known."""
    return now - max(snapshot.created_at, snapshot.due_at or 0.0) if snapshot.attempt == 1 else 0.0


def _joined(parts: list[str]) -> str:
    return " · ".join(part for part in parts if part)


def about(seconds: float) -> str:
    """A time that can be kept: in fives below a minute, then rounder and rounder."""
    if seconds < 5:
        return say("few_seconds")
    if seconds <= 55:
        return plural("about_seconds", math.ceil(seconds / 5) * 5)
    if seconds < 90:
        return say("about_minute")
    if seconds < 55 * 60:
        return plural("about_minutes", _round(seconds / 60))
    if seconds < 75 * 60:
        return say("about_hour")
    if seconds < 105 * 60:
        return say("about_hour_and_half")
    if seconds < 36 * 3600:
        return plural("about_hours", _round(seconds / 3600))
    return plural("about_days", _round(seconds / 86_400))


def span(seconds: float) -> str:
    """A time that has passed, or is known to come."""
    if seconds < 1:
        return say("moment")
    if seconds < 90:
        return plural("seconds", math.floor(seconds))
    if seconds < 90 * 60:
        return plural("minutes", _round(seconds / 60))
    if seconds < 36 * 3600:
        return plural("hours", _round(seconds / 3600))
    return plural("days", _round(seconds / 86_400))


def _round(value: float) -> int:
    """Halves go up, as in the browser; Python's own `round` would go to the even one."""
    return math.floor(value + 0.5)


def number(value: float) -> str:
    """In groups of three, with one decimal where a small value is not whole."""
    tenths = _round(value * 10) if abs(value) < 100 else _round(value) * 10
    sign, (whole, tenth) = "-" if tenths < 0 else "", divmod(abs(tenths), 10)
    text = f"{whole:,}".replace(",", str(get_format("THOUSAND_SEPARATOR")))
    return sign + (f"{text}{get_format('DECIMAL_SEPARATOR')}{tenth}" if tenth else text)


def say(key: str, **values: str) -> str:
    """The message in the present language."""
    return _fill(gettext(MESSAGES[key]), values)


def plural(key: str, n: int) -> str:
    """The message for `n` in the present language."""
    return _fill(PLURALS[key](n), {"n": number(n)})


def _fill(template: str, values: dict[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda match: values.get(match[1], match[0]), template)


def catalogue() -> dict[str, Any]:
    """All messages in the present language, for the browser.

    A plural message has its forms and a row of 200 digits: which form for 0 to 199. Beyond, the last two
    digits decide, as they do in all languages that gettext knows.
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
        "messages": {key: gettext(message) for key, message in MESSAGES.items()},
        "plurals": plurals,
        "rules": rules,
        "group": str(get_format("THOUSAND_SEPARATOR")),
        "decimal": str(get_format("DECIMAL_SEPARATOR")),
    }
