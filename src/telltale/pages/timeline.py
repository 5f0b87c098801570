"""What happened to a task: when it was queued, and each attempt with its times and how it ended.

`attempts_of` is for the admin too. `moments` is the public part, for the task's own page: it names neither workers nor
exceptions. The page gets the moments as markup; its script gets them as JSON when the task's phase changes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from telltale.core.past_attempts import PastAttempt, last_line, read_attempts
from telltale.core.snapshot import Snapshot
from telltale.core.states import State
from telltale.models import TaskState
from telltale.pages.catalogue import message
from telltale.pages.durations import duration


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownAttempt:
    """One attempt, past or current. Instants are in seconds since 1970, by the store's clock."""

    number: int
    state: State
    """Of a past attempt: how it was left. `retrying`: it failed, and the next one follows."""
    queued_at: float | None = None
    """From when it waited to begin; None if unknown."""
    started_at: float | None = None
    ended_at: float | None = None
    """When it ended, or was last heard of if it is past; None while it waits or runs."""
    is_past: bool = False
    is_stopping: bool = False
    was_continued: bool = False
    """Whether it was presumed lost, and went on under the next number."""
    continues: bool = False
    """Whether it is the previous one that went on."""
    error: str | None = None
    exception: str = ""
    worker: str = ""

    @property
    def waited_s(self) -> float | None:
        """How long it waited to begin, in seconds; None if unknown, or if it has not begun."""
        if self.continues or self.queued_at is None or self.started_at is None:
            return None
        return max(0.0, self.started_at - self.queued_at)

    @property
    def ran_s(self) -> float | None:
        """How long it ran, in seconds; None if it has not begun or not ended."""
        return None if None in (self.started_at, self.ended_at) else max(0.0, self.ended_at - self.started_at)  # type: ignore[operator]

    @property
    def status(self) -> str:
        """Its state in words."""
        if self.was_continued:
            return _("Lost contact with the worker")
        if self.is_past and self.state is State.RUNNING:
            return message("lost")
        if self.is_stopping:
            return message("cancelling")
        return message(_WORDS.get(self.state, self.state.value))


_WORDS = {State.QUEUED: "waiting", State.RUNNING: "working", State.RETRYING: "failed"}


def attempts_of(task: TaskState) -> list[ShownAttempt]:
    """Return the attempts of the task, the oldest first: the past ones that the row keeps, and the current one.

    After a failure that is retried, the next attempt follows, which waits.
    """
    shown: list[ShownAttempt] = []
    previous: PastAttempt | None = None
    for past in read_attempts(task.past_attempts):
        shown.append(_past(past, previous, task))
        previous = past
    current = _current(task, previous)
    shown.append(current)
    if current.state is State.RETRYING:
        shown.append(ShownAttempt(number=current.number + 1, state=State.QUEUED, queued_at=current.ended_at))
    return shown


def _past(past: PastAttempt, previous: PastAttempt | None, task: TaskState) -> ShownAttempt:
    return ShownAttempt(
        number=past.number,
        state=past.state,
        ended_at=past.ended_at,
        is_past=True,
        was_continued=past.is_continued,
        error=past.error,
        exception=past.exception,
        worker=past.worker,
        **_beginning(past.number, past.started_at, previous, task),
    )


def _current(task: TaskState, previous: PastAttempt | None) -> ShownAttempt:
    state = State(task.state)
    return ShownAttempt(
        number=task.attempt,
        state=state,
        ended_at=task.beat_at if state is State.RETRYING else task.ended_at,
        is_stopping=state is State.RUNNING and task.cancel_requested,
        error=task.error,
        exception=last_line(task.detail),
        worker=task.worker,
        **_beginning(task.attempt, task.started_at, previous, task),
    )


def _beginning(number: int, started_at: float | None, previous: PastAttempt | None, task: TaskState) -> dict[str, Any]:
    """From when an attempt waited, and when it began: one that continues the previous one keeps that one's start."""
    if previous is None:
        return {"queued_at": task.created_at if number == 1 else None, "started_at": started_at}
    if previous.is_continued:
        return {"queued_at": None, "started_at": previous.next_at, "continues": True}
    return {"queued_at": previous.next_at, "started_at": started_at}


# The public part


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One line of the timeline, in words."""

    title: str
    detail: str = ""
    error: str = ""
    kind: str = "past"
    """For style sheets: a state; "past" for what is neither good nor bad."""
    from_at: float | None = None
    until_at: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the line for the page's script."""
        texts = {"title": self.title, "detail": self.detail, "error": self.error, "kind": self.kind}
        return texts | {"from_at": self.from_at, "until_at": self.until_at}


def phase(snapshot: Snapshot) -> str:
    """Return what the timeline depends on: it changes with this. The script makes the same text of a snapshot."""
    return f"{snapshot.attempt} {snapshot.state} {int(snapshot.cancel_requested)}"


def moments(task: TaskState) -> list[Moment]:
    """Return the lines of the timeline, the oldest first: the task was queued, and its attempts."""
    attempts = attempts_of(task)
    lines = [Moment(title=_("Queued"), from_at=task.created_at), *_left_out(attempts[0].number - 1)]
    is_only_queued = len(attempts) == 1 and attempts[0].number == 1 and attempts[0].state is State.QUEUED
    return lines if is_only_queued else [*lines, *(_moment(attempt, len(attempts)) for attempt in attempts)]


def _left_out(n: int) -> Iterator[Moment]:
    if n > 0:
        text = ngettext("%(n)s earlier attempt is not listed", "%(n)s earlier attempts are not listed", n)
        yield Moment(title=text % {"n": n})


def _moment(attempt: ShownAttempt, count: int) -> Moment:
    is_only = count == 1 and attempt.number == 1
    title = attempt.status if is_only else _("Attempt %(n)s: %(end)s") % {"n": attempt.number, "end": attempt.status}
    begins_at = next((at for at in (attempt.started_at, attempt.queued_at) if at is not None), attempt.ended_at)
    is_bad = attempt.is_past or attempt.state is State.RETRYING
    return Moment(
        title=title,
        detail=" · ".join(_details(attempt)),
        error=attempt.error or "",
        kind="failed" if is_bad and attempt.state is not State.CANCELLED else attempt.state.value,
        from_at=begins_at,
        until_at=None if attempt.ended_at == begins_at else attempt.ended_at,
    )


def _details(attempt: ShownAttempt) -> Iterator[str]:
    if attempt.continues:
        yield _("the worker was in contact again and continued")
    if attempt.waited_s is not None and attempt.waited_s >= 1:
        yield _("waited %(time)s") % {"time": duration(attempt.waited_s)}
    if attempt.ran_s is not None:
        time = duration(attempt.ran_s)
        is_done = attempt.state is State.SUCCEEDED
        yield message("took", time=time) if is_done else _("ran for %(time)s") % {"time": time}


def instant_text(seconds: float) -> str:
    """Return an instant in the current time zone, to the second; without the date if that is today's."""
    moment = timezone.localtime(datetime.fromtimestamp(seconds, UTC))
    time_of_day = f"{moment:%H:%M:%S}"
    is_today = moment.date() == timezone.localtime().date()
    return time_of_day if is_today else f"{date_format(moment, 'DATE_FORMAT')} {time_of_day}"
