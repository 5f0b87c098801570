"""The only writer of `TaskState`: claim, renew, save, end, expire, read. All races are on this page.

Each race is decided by one conditional UPDATE whose row count is the verdict; who loses it changes nothing
and publishes nothing. Nothing here publishes: callers hand what is returned to `messages.announce`, after
the write. Instants are seconds since 1970 by the store's clock (`now()`); None for `now` means that clock.

Called by `worker`, `runners`, `web` and `messages`; knows nothing of any of them.
"""

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final
from uuid import UUID, uuid5

from django.core.exceptions import ValidationError
from django.db import DatabaseError, IntegrityError, connections, transaction
from django.db.models import F, Q, QuerySet, Window
from django.db.models.functions import Greatest, RowNumber
from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext as _

from telltale import conf
from telltale.core.estimate import Usual
from telltale.core.snapshot import SHORT_BYTES, TEXT_BYTES, Progress, Snapshot, bounded
from telltale.core.states import CLAIMABLE, RETRIABLE, State, sources
from telltale.core.topics import InvalidTopic, parse
from telltale.core.wire import Envelope, Notice
from telltale.models import StoredNotice, TaskState, UsualDuration
from telltale.owners import Owner

logger = logging.getLogger(__name__)

NEWEST: Final = 50
"""How many tasks, and how many notices, a follower's snapshot holds."""

KEY_LENGTH: Final = 255
DETAIL_BYTES: Final = 65_536
CLOCK_CHECK_S: Final = 60.0
"""How often the database is asked for its clock, at most."""

PRUNED_AT_ONCE: Final = 1_000
"""How many of each kind one pruning deletes: a large deletion would keep others waiting."""

SAVED_AT_ONCE: Final = 90
"""How many reports share a transaction: some milliseconds, for which ends may have to wait. Each has ten parameters,
and a statement has 999 at most wherever they are counted."""

USUAL_FOR_S: Final = 10.0
"""How long what is usual is taken for known: it changes slowly."""

LEARN_EVERY_S: Final = 10.0
"""Durations of short runs are written together, this often a task and process."""

TRIES: Final = 10
"""How often a lost race is run again; each loss means that somebody else got on."""

# What a new attempt forgets of the one before.
_AFRESH: Final[Mapping[str, Any]] = {
    "seq": 0,
    "progress": {},
    "remaining_s": None,
    "result": None,
    "error": None,
    "detail": "",
    "reference": None,
    "worker": "",
    "lease_until": None,
    "cancel_requested": False,
    "no_cancel": None,
    "due_at": None,
    "ahead": None,
    "is_listening": None,
    "started_at": None,
    "moved_at": None,
    "beat_at": None,
    "ended_at": None,
}

# What is known of a task only while it waits.
_BEGUN: Final[Mapping[str, Any]] = {"due_at": None, "ahead": None, "is_listening": None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
    """What `queue` found or made."""

    task: TaskState
    joined: bool
    """Whether it was there already, under the same key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """A change that happened, and who may know of it."""

    snapshot: Snapshot
    topics: tuple[str, ...]
    notice: Notice | None = None
    """Of the task's end, if somebody owns it."""
    whole: "Changed | None" = None
    """What it changed of the whole whose part it is."""

    @property
    def envelopes(self) -> list[Envelope]:
        """As a broker carries it."""
        told = [Envelope(topics=self.topics, snapshot=self.snapshot)]
        if self.notice is not None:
            told.append(Envelope(topics=(self.notice.topic,), notice=self.notice))
        return told + (self.whole.envelopes if self.whole is not None else [])


Ended = Changed


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The right to run one attempt, until its lease lapses or a newer attempt is claimed."""

    id: UUID
    attempt: int
    seq: int
    topics: tuple[str, ...]
    snapshot: Snapshot
    cancel_requested: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a delivery may not run: the state that forbids it; None if there is no such task."""

    state: State | None
    is_superseded: bool = False
    """The runner has been given the task anew since, under another id: this delivery is not to run at all."""
    changed: Changed | None = None
    """What the asking itself changed: a cancellation that had been requested came into force."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a worker has to say about an attempt that it runs; saving it renews the lease."""

    id: UUID
    attempt: int
    seq: int
    progress: Progress
    moved_at: float | None = None
    remaining_s: float | None = None
    no_cancel: str | None = None
    label: str | None = None
    """None leaves it as it is."""
    is_beat: bool = False
    """A sign of life, and nothing else: all but the clocks is saved already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """What became of a report."""

    id: UUID
    attempt: int
    fenced: bool
    """The attempt has ended or a newer one owns the task: its worker may say no more."""
    unknown: bool = False
    """There is no such row, or it is not committed yet."""
    cancel_requested: bool = False
    seq: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """How much was deleted, and what was given up."""

    tasks: int
    notices: int
    given_up: list[Changed]


# The clock


_clock: dict[str, tuple[float, float]] = {}  # alias: (database's clock minus ours, when measured)
_CLOCKS: Final = {
    "postgresql": "SELECT EXTRACT(EPOCH FROM clock_timestamp())",
    "mysql": "SELECT UNIX_TIMESTAMP(NOW(6))",
}


def now() -> float:
    """The store's clock, in seconds since 1970: the database's own, so that machines agree on leases.

    SQLite runs on this machine, so this machine's clock is its clock.
    """
    alias = conf.settings().database
    question = _CLOCKS.get(connections[alias].vendor)
    if question is None:
        return time.time()
    offset, measured_at = _clock.get(alias, (0.0, float("-inf")))
    if time.monotonic() - measured_at >= CLOCK_CHECK_S:
        try:
            with connections[alias].cursor() as cursor:
                before = time.time()
                cursor.execute(question)
                offset = float(cursor.fetchone()[0]) - (before + time.time()) / 2
        except DatabaseError:
            pass  # The last offset serves; whatever is done with the instant will meet the same trouble.
        else:
            _clock[alias] = (offset, time.monotonic())
    return time.time() + offset


# Coming into being


def queue(
    *,
    runner: str,
    name: str,
    label: str = "",
    task_id: UUID | None = None,
    runner_id: str | None = None,
    args: Sequence[Any] | None = (),
    kwargs: Mapping[str, Any] | None = None,
    owner: Owner = Owner(),  # noqa: B008 (a value)
    key: str | None = None,
    due_at: float | None = None,
    now: float | None = None,
) -> Queued:
    """Make the queued row, in the caller's transaction; with a key, join the open task of that name and key.

    `args=None` says that the call can't be kept, so that it can't be run again from here. `due_at`: when it
    is to begin, if not as soon as may be.
    Raises `IntegrityError` if the task or the runner's id has a row already.
    """
    if key is not None and len(key) > KEY_LENGTH:
        raise ValueError(f"The key {key[:40]!r}… has {len(key):,} characters; at most {KEY_LENGTH} are kept: hash it.")
    at = _at(now)
    fresh: dict[str, Any] = {"id": task_id} if task_id else {}
    fresh |= {
        "runner": runner,
        "runner_id": runner_id,
        "name": bounded(name, SHORT_BYTES),
        "label": bounded(str(label) or name, SHORT_BYTES),
        "key": key,
        "open_key": _open_key(name, key),
        "call": {"args": None if args is None else list(args), "kwargs": dict(kwargs or {})},
        "owner_id": owner.user_id,
        "session": owner.session,
        "due_at": due_at,
        "created_at": at,
    }
    for _try in range(TRIES):
        joined = _joinable(fresh["open_key"], at)
        if joined is not None:
            return Queued(task=joined, joined=True)
        try:
            with _transaction():
                return Queued(task=_rows().create(**fresh), joined=False)
        except IntegrityError:
            # Somebody with the same key was quicker and may be joined; anything else is the caller's to hear.
            if _joinable(fresh["open_key"], at) is None:
                raise
    raise IntegrityError(f"The key {key!r} of {name} stayed taken by tasks that end at once.")


def queue_many(
    calls: Sequence[tuple[UUID, str | None, Sequence[Any]]],
    *,
    runner: str,
    name: str,
    label: str,
    owner: Owner,
    now: float | None = None,
) -> list[TaskState]:
    """Make the queued rows of many calls of one task, each (task id, runner's id, arguments), in one statement."""
    same: dict[str, Any] = {"runner": runner, "name": bounded(name, SHORT_BYTES), "label": bounded(label, SHORT_BYTES)}
    same |= {"owner_id": owner.user_id, "session": owner.session, "created_at": _at(now)}
    rows = [
        TaskState(id=task_id, runner_id=runner_id, call={"args": list(args), "kwargs": {}}, **same)
        for task_id, runner_id, args in calls
    ]
    return _rows().bulk_create(rows)


def _open_key(name: str, key: str | None) -> str | None:
    # A digest, for names and keys together are longer than some databases index.
    return None if key is None else sha256(f"{bounded(name, SHORT_BYTES)}\0{key}".encode()).hexdigest()


def _joinable(open_key: str | None, at: float) -> TaskState | None:
    if open_key is None:
        return None
    row = _rows().filter(open_key=open_key).first()
    if row is None or not _lapsed(row, at):
        return row
    expire([row.pk], now=at)
    return None


def adopt(task_id: UUID | str, runner_id: str) -> None:
    """The runner's id became known. Harmless when repeated."""
    _rows().filter(~Q(runner_id=runner_id), pk=task_id).update(runner_id=runner_id)


def put_off(task_id: UUID | str, due_at: float | None) -> Changed | None:
    """The runner said when a task that waits is due; None if it does not wait, or was known to be due then."""
    with _transaction():
        waiting = _rows().filter(pk=task_id, state__in=[State.QUEUED.value, State.RETRYING.value])
        if not waiting.exclude(_is("due_at", due_at)).update(due_at=due_at, seq=F("seq") + 1):
            return None
        return _changed(task_id)


def waits(task_id: UUID | str, *, ahead: int | None, is_listening: bool | None) -> Changed | None:
    """Why it waits; None if it does not, or that was known. Each None is what nobody can tell."""
    with _transaction():
        waiting = _rows().filter(pk=task_id, state=State.QUEUED.value)
        same = _is("ahead", ahead) & _is("is_listening", is_listening)
        if not waiting.exclude(same).update(ahead=ahead, is_listening=is_listening, seq=F("seq") + 1):
            return None
        return _changed(task_id)


def count_before(row: TaskState) -> int:
    """How many tasks of the same runner wait that were asked for before it, and are due."""
    earlier = _rows().filter(runner=row.runner, state=State.QUEUED.value, created_at__lt=row.created_at)
    return earlier.filter(Q(due_at=None) | Q(due_at__lte=now())).count()


def abandon(task_id: UUID | str) -> None:
    """The runner could not take it: no row is left that says "queued". One that has begun stays."""
    _rows().filter(pk=task_id, attempt=1, state=State.QUEUED.value).delete()


# Running


def claim(
    *,
    task_id: UUID | str | None = None,
    runner: str | None = None,
    runner_id: str | None = None,
    worker: str,
    now: float | None = None,
) -> Claim | Refusal:
    """Take the right to run a task that was delivered: the queued attempt, or a new one after the last.

    Succeeded and cancelled refuse redelivery. A cancellation that was requested and not yet obeyed is
    obeyed here: the task does not begin again.
    """
    for _try in range(TRIES):
        row = _find(task_id, runner, runner_id)
        if row is None:
            return Refusal(state=None)
        if task_id is not None and None not in (runner_id, row.runner_id) and runner_id != row.runner_id:
            return Refusal(state=State(row.state), is_superseded=True)
        if row.cancel_requested:
            ended = end(row.pk, row.attempt, State.CANCELLED, now=now)
            if ended is None and row.ended_at is None:
                continue
            return Refusal(state=State.CANCELLED, changed=ended)
        if State(row.state) not in CLAIMABLE:
            return Refusal(state=State(row.state))
        begun = _begin(row, worker, _at(now))
        if begun is not None:
            return begun
    return Refusal(state=State.RUNNING)


def _begin(row: TaskState, worker: str, at: float) -> Claim | None:
    attempt = row.attempt if row.state == State.QUEUED else row.attempt + 1
    fields: dict[str, Any] = dict(_AFRESH) if attempt > row.attempt else {"seq": row.seq + 1, **_BEGUN}
    fields |= {
        "attempt": attempt,
        "state": State.RUNNING.value,
        "worker": bounded(worker, 128),
        "usual_s": _usual_s(row.name),
        "started_at": at,
        "beat_at": at,
        "lease_until": at + conf.settings().lease_s,
        "open_key": _open_key(row.name, row.key),
    }
    try:
        return _take(row, fields)
    except IntegrityError:
        # It had ended, and another task has taken its key since. The runner's word to run it stands, so it
        # runs without the key.
        return _take(row, fields | {"key": None, "open_key": None})


def _take(row: TaskState, fields: Mapping[str, Any]) -> Claim | None:
    as_found = _rows().filter(pk=row.pk, attempt=row.attempt, seq=row.seq, state=row.state, cancel_requested=False)
    if not as_found.update(**fields):
        return None
    # The condition holds all that counts, so the row is known without another look.
    for name, value in fields.items():
        setattr(row, name, value)
    return Claim(id=row.pk, attempt=row.attempt, seq=row.seq, topics=row.topics, snapshot=row.snapshot)


def save(reports: Sequence[Report], *, now: float | None = None) -> list[Saved]:
    """Save what workers report and renew their leases, in one transaction; what became of each, in their order.

    Give it `SAVED_AT_ONCE` at most: on SQLite everybody else waits meanwhile. If one report can't be saved, none is.
    """
    at = _at(now)
    clocks = {"beat_at": at, "lease_until": at + conf.settings().lease_s}
    fields = ("attempt", "state", "cancel_requested", "seq")
    present = _rows().filter(pk__in=[report.id for report in reports]).values_list("pk", *fields)
    with _transaction():
        _save_beats([report for report in reports if report.is_beat], clocks)
        _save_news([report for report in reports if not report.is_beat], clocks)
        # Many rows have one count, so the verdicts are read. What was written is locked until the commit, and an
        # attempt that is over never runs again: so a row that is an attempt's own now was so when it was written.
        rows = {pk: rest for pk, *rest in present}
    return [_verdict(report, rows.get(report.id)) for report in reports]


def _save_beats(reports: Sequence[Report], clocks: Mapping[str, float]) -> None:
    for attempt in sorted({report.attempt for report in reports}):
        ids = [report.id for report in reports if report.attempt == attempt]
        running = _rows().filter(pk__in=ids, attempt=attempt, state=State.RUNNING.value)
        running.update(seq=F("seq") + 1, **clocks)


# One UPDATE from a table of values, by hand: the ORM takes ten times as long to build one, and many statements are
# as many journeys to a server. A request to cancel may have counted on in the row, hence the larger `seq`.
_CHANGES: Final = """
    progress = told_progress, moved_at = told_moved_at, remaining_s = told_remaining_s, no_cancel = told_no_cancel,
    label = COALESCE(told_label, label), seq = CASE WHEN seq < told_seq THEN told_seq ELSE seq END,
    beat_at = told_beat_at, lease_until = told_lease_until
"""
_THEIR_OWN: Final = f"id = told_id AND attempt = told_attempt AND state = '{State.RUNNING.value}'"


def _save_news(reports: Sequence[Report], clocks: Mapping[str, float]) -> None:
    if not reports:
        return
    connection, rows = connections[_alias()], TaskState._meta.db_table
    told = [_stored(report, connection) | dict(clocks) for report in reports]
    # The first row says what type each column has; some databases would take it for text.
    first = ", ".join(f"{_placeholder(name, connection)} AS told_{name}" for name in told[0])
    others = f" UNION ALL SELECT {', '.join(['%s'] * len(told[0]))}" * (len(told) - 1)
    if connection.vendor == "mysql":
        statement = f"UPDATE {rows}, (SELECT {first}{others}) AS told SET {_CHANGES} WHERE {_THEIR_OWN}"  # noqa: S608
    else:
        statement = f"UPDATE {rows} SET {_CHANGES} FROM (SELECT {first}{others}) AS told WHERE {_THEIR_OWN}"  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(statement, [value for row in told for value in row.values()])


def _stored(report: Report, connection: Any) -> dict[str, Any]:
    return {
        "id": _field("id").get_db_prep_save(report.id, connection),
        "attempt": report.attempt,
        "seq": report.seq,
        "progress": _field("progress").get_db_prep_save(report.progress.to_json(), connection),
        "moved_at": report.moved_at,
        "remaining_s": report.remaining_s,
        "no_cancel": report.no_cancel,
        "label": None if report.label is None else bounded(report.label, SHORT_BYTES),
    }


def _placeholder(name: str, connection: Any) -> str:
    if not connection.features.requires_casted_case_in_updates:
        return "%s"
    return f"CAST(%s AS {_field(name).cast_db_type(connection)})"


def _field(name: str) -> Any:
    return TaskState._meta.get_field(name)


def _verdict(report: Report, row: Sequence[Any] | None) -> Saved:
    if row is None:
        return Saved(id=report.id, attempt=report.attempt, fenced=False, unknown=True)
    attempt, state, cancel_requested, seq = row
    if (attempt, state) != (report.attempt, State.RUNNING):
        return Saved(id=report.id, attempt=report.attempt, fenced=True)
    return Saved(id=report.id, attempt=attempt, fenced=False, cancel_requested=cancel_requested, seq=seq)


def retrying(
    task_id: UUID | str,
    attempt: int,
    *,
    seq: int = 0,
    due_at: float | None = None,
    error: str | None = None,
    now: float | None = None,
) -> Changed | None:
    """The attempt failed and its runner will run the task again; None if it had ended or is not the present one.

    Where a cancellation was requested there is no next time: it ends as cancelled.
    """
    at = _at(now)
    with _transaction():
        running = _rows().filter(pk=task_id, attempt=attempt, state__in=_values(sources(State.RETRYING)))
        if running.filter(cancel_requested=False).update(
            state=State.RETRYING.value,
            seq=Greatest(F("seq") + 1, seq),  # Progress may have been published that was never saved.
            due_at=due_at,
            error=None if error is None else bounded(error),
            lease_until=None,  # It waits as a queued task does, for as long as its runner's queue is.
            remaining_s=None,
            no_cancel=None,
            beat_at=at,
        ):
            return _changed(task_id)
    return end(task_id, attempt, State.CANCELLED, now=now) if running.exists() else None


# Ending


def end(
    task_id: UUID | str,
    attempt: int,
    state: State,
    *,
    seq: int | None = None,
    progress: Progress | None = None,
    error: str | None = None,
    detail: str = "",
    reference: str | None = None,
    result: str | None = None,
    label: str | None = None,
    is_owned: bool = True,
    now: float | None = None,
) -> Changed | None:
    """End an attempt, once: None if it had ended, or a newer attempt owns the task. Then publish nothing.

    The owner's notice is written in the same transaction; `is_owned=False` says that there is none to write,
    and spares the transaction. `error`: words for people; `detail`: for staff.
    """
    fields: dict[str, Any] = {
        "error": None if error is None else bounded(error),
        "detail": bounded(detail, DETAIL_BYTES),
        "reference": reference,
    }
    if seq is not None:
        fields["seq"] = Greatest(F("seq") + 1, seq)
    if progress is not None:
        fields["progress"] = progress.to_json()
    if result is not None:
        fields["result"] = _link(result)
    if label is not None:
        fields["label"] = bounded(label, SHORT_BYTES)
    return _end(task_id, Q(attempt=attempt), state, sources(state), fields, _at(now), is_owned=is_owned)


def request_cancel(task_id: UUID | str, *, now: float | None = None) -> Changed | None:
    """Ask for a task's end; None if it has ended or is unknown. Harmless when repeated.

    What has not begun ends here and now; what runs is asked to, and its worker hears of it at its next save.
    """
    if not _is_id(task_id):
        return None
    waiting = sources(State.CANCELLED) - {State.RUNNING}
    ended = _end(task_id, Q(), State.CANCELLED, waiting, {"cancel_requested": True}, _at(now))
    if ended is not None:
        return ended
    with _transaction():
        running = _rows().filter(pk=task_id, state=State.RUNNING.value)
        running.filter(cancel_requested=False).update(cancel_requested=True, seq=F("seq") + 1)
        changed = _changed(task_id)
    # It may have been queued again between the two: then the next click finds it so.
    return changed if changed and changed.snapshot.state is State.RUNNING else None


def is_cancel_requested(task_id: UUID | str) -> bool:
    """Whether somebody has asked for its end."""
    return _rows().filter(pk=task_id, cancel_requested=True).exists()


def requeue(task_id: UUID | str, *, runner_id: str | None = None, now: float | None = None) -> Changed | None:
    """A person asks for another attempt; None unless the last one failed, was cancelled or was lost.

    `runner_id`: the runner's next id, where it is known: messages about the old one must not find this attempt.
    None also while another open task has taken its key: that one is the attempt to wait for.
    """
    expire([task_id], now=now)
    row = _rows().filter(pk=task_id, state__in=_values(RETRIABLE)).first()
    if row is None:
        return None
    found = _rows().filter(pk=row.pk, attempt=row.attempt, state=row.state)
    fields = dict(_AFRESH) | {"state": State.QUEUED.value, "attempt": row.attempt + 1, "runner_id": runner_id}
    fields |= {"open_key": _open_key(row.name, row.key), "due_at": _at(now)}
    try:
        with _transaction():
            return _changed(row.pk) if found.update(**fields) else None
    except IntegrityError:
        return None


def expire(ids: Iterable[UUID | str] | None = None, *, now: float | None = None) -> list[Changed]:
    """Say of tasks whose lease has lapsed that they are lost; of these only, or of all.

    Every read calls this, so no scheduler is needed. The condition is part of the UPDATE: a worker that
    renews in between keeps its task.
    """
    at = _at(now)
    lapsed = _rows().filter(ended_at=None, lease_until__lt=at)
    if ids is not None:
        lapsed = lapsed.filter(pk__in=_ids(ids))
    ended = [
        _end(pk, Q(attempt=attempt, lease_until__lt=at), State.LOST, sources(State.LOST), {}, at)
        for pk, attempt in lapsed.values_list("pk", "attempt")
    ]
    return [changed for changed in ended if changed is not None]


def _end(
    task_id: UUID | str,
    only: Q,
    state: State,
    olds: frozenset[State],
    fields: Mapping[str, Any],
    at: float,
    *,
    is_owned: bool = True,
) -> Changed | None:
    with _transaction() if is_owned else nullcontext():
        told = {"state": state.value, "seq": F("seq") + 1, "ended_at": at, **fields}
        told |= {"lease_until": None, "remaining_s": None, "no_cancel": None, "open_key": None, **_BEGUN}
        if state is State.CANCELLED:
            told["cancel_requested"] = True
        if not _rows().filter(only, pk=task_id, ended_at=None, state__in=_values(olds)).update(**told):
            return None
        row = _rows().get(pk=task_id)
        notice = _tell_owner(row, at) if is_owned else None
    if state is State.SUCCEEDED and row.started_at is not None:
        _learn(row.name, at - row.started_at)
    # After its own end is committed: of two last parts that end at once, at least one must see both.
    whole = gather(row.call["whole"], now=at) if "whole" in row.call else None
    return Changed(snapshot=row.snapshot, topics=row.topics, notice=notice, whole=whole)


def _tell_owner(row: TaskState, at: float) -> Notice | None:
    if row.owner_topic is None:
        return None
    level, text = _words_of_end(row)
    url = row.result if row.state == State.SUCCEEDED and row.result else _page_of(row.pk)
    stored = StoredNotice(topic=row.owner_topic, level=level, text=bounded(text), url=url, created_at=at)
    stored.task, stored.attempt = row, row.attempt
    stored.save(using=_alias(), force_insert=True)
    return stored.notice


def _words_of_end(row: TaskState) -> tuple[str, str]:
    about = {"label": row.label, "error": row.error}
    match State(row.state):
        case State.SUCCEEDED:
            return "success", _("%(label)s: done.") % about
        case State.CANCELLED:
            return "info", _("%(label)s: cancelled.") % about
        case State.LOST:
            return "warning", _("%(label)s: stopped without a word. It can be tried again.") % about
        case _:
            return "error", (_("%(label)s: %(error)s") if row.error else _("%(label)s: failed.")) % about


def _link(result: str) -> str | None:
    if bounded(result) == result:
        return result
    # Half a link leads nowhere.
    logger.warning("A result's link is left out, for it has more than %d bytes: %.80s…", TEXT_BYTES, result)
    return None


def _page_of(task_id: UUID) -> str | None:
    try:
        return reverse("telltale:task", args=[task_id])
    except NoReverseMatch:
        return None


# How long runs take


_usual: dict[tuple[str, str], tuple[float, tuple[float, float] | None]] = {}
_unlearnt: dict[tuple[str, str], tuple[float, list[float]]] = {}


def _usual_s(name: str) -> tuple[float, float] | None:
    """As it was at most `USUAL_FOR_S` ago."""
    asked_at, usual_s = _usual.get((_alias(), name), (float("-inf"), None))
    if time.monotonic() - asked_at >= USUAL_FOR_S:
        usual_s = _read_usual_s(name)
        _usual[_alias(), name] = (time.monotonic(), usual_s)
    return usual_s


def _read_usual_s(name: str) -> tuple[float, float] | None:
    durations = UsualDuration.objects.using(_alias()).filter(pk=name).values_list("durations_s", flat=True).first()
    return Usual.from_list(durations).usual_s if durations else None


def _learn(name: str, duration_s: float) -> None:
    """Add a run to what is usual. A run less is no harm, so trouble is passed over.

    Of many short runs of one task, those of `LEARN_EVERY_S` are written together.
    """
    written_at, waiting = _unlearnt.get((_alias(), name), (float("-inf"), []))
    waiting = [*waiting, duration_s]
    if time.monotonic() - written_at < LEARN_EVERY_S and duration_s < LEARN_EVERY_S:
        _unlearnt[_alias(), name] = (written_at, waiting)
        return
    _unlearnt[_alias(), name] = (time.monotonic(), [])
    try:
        with _transaction():
            known, _made = UsualDuration.objects.using(_alias()).get_or_create(pk=name)
            usual = Usual.from_list(known.durations_s)
            for one_s in waiting:
                usual = usual.add(one_s)
            known.durations_s = usual.to_list()
            known.save(using=_alias(), update_fields=["durations_s"])
    except DatabaseError as error:
        logger.info("A run of %s is missing from what is usual: %s", name, error)


# Reading


def read(ids: Iterable[UUID | str], *, now: float | None = None) -> list[Envelope]:
    """The present snapshots of these tasks, those that lapsed ended first; one query if none has."""
    known = _ids(ids)
    rows = _fresh(_rows().filter(pk__in=known), _at(now)) if known else []
    return [Envelope(topics=row.topics, snapshot=row.snapshot) for row in rows]


def read_topics(topics: Iterable[str], *, now: float | None = None) -> list[Envelope]:
    """What followers of these topics should see: tasks and notices that wait; at most two queries.

    Of a person or session: the open tasks and those that ended lately, the newest `NEWEST` of each. Topics
    of the site's own have no state, so nothing is found for them.
    """
    at = _at(now)
    tasks, users, sessions = _sorted(topics)
    told: list[Envelope] = []
    recent = Q(ended_at=None) | Q(ended_at__gte=at - conf.settings().show_ended_s)
    followed = _any_of(owner_id__in=users, session__in=sessions)
    if tasks or followed:
        wanted = (Q(pk__in=tasks) if tasks else Q(pk=None)) | (followed & recent if followed else Q(pk=None))
        newest = Window(
            RowNumber(),
            partition_by=[F("owner_id"), F("session")],
            order_by=[F("ended_at").desc(nulls_first=True), F("created_at").desc()],
        )
        rows = _rows().filter(wanted).annotate(nth=newest).filter(Q(nth__lte=NEWEST) | Q(pk__in=tasks))
        told += [Envelope(topics=row.topics, snapshot=row.snapshot) for row in _fresh(rows, at)]
    if followed:
        people = [topic for topic in set(topics) if topic.startswith(("user:", "session:"))]
        waiting = _notices().filter(topic__in=people, shown_at=None).order_by("-created_at")[: NEWEST * len(people)]
        told += [Envelope(topics=(stored.topic,), notice=stored.notice) for stored in reversed(waiting)]
    return told


def get(task_id: UUID | str, *, now: float | None = None) -> TaskState | None:
    """The row, ended if its lease has lapsed; None for an unknown or malformed id."""
    known = _ids([task_id])
    rows = _fresh(_rows().filter(pk__in=known).select_related("owner"), _at(now)) if known else []
    return rows[0] if rows else None


def _fresh(rows: "QuerySet[TaskState]", at: float) -> list[TaskState]:
    found = list(rows)
    lapsed = [row.pk for row in found if _lapsed(row, at)]
    wholes = [row for row in found if row.ended_at is None and "steps" in row.call]
    if not lapsed and not wholes:
        return found
    expire([*lapsed, *(pk for row in wholes for pk in part_ids(row))], now=at)
    for row in wholes:
        gather(row.pk, now=at)
    return list(rows.all())


def _lapsed(row: TaskState, at: float) -> bool:
    return row.ended_at is None and row.lease_until is not None and row.lease_until < at


# Wholes: many tasks under one bar
#
# Their parts are ordinary rows that nobody owns, so they show no bars and tell nobody. A whole is run by no
# process and has no lease to renew: its parts have theirs, and whoever reads it counts them anew.


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One task of a whole, as it is to be queued."""

    runner_id: str
    name: str
    label: str
    args: Sequence[Any] | None
    kwargs: Mapping[str, Any]


def queue_whole(
    steps: Sequence[Sequence[Part]],
    *,
    whole_id: UUID,
    runner: str,
    name: str,
    label: str,
    owner: Owner,
    now: float | None = None,
) -> TaskState:
    """Make the queued rows of a whole and of its parts; all of a step end before the next one begins."""
    same: dict[str, Any] = {"runner": runner, "created_at": _at(now)}
    whole = TaskState(
        id=whole_id,
        name=bounded(name, SHORT_BYTES),
        label=bounded(label, SHORT_BYTES),
        call={"args": None, "kwargs": {}, "steps": [len(step) for step in steps]},
        owner_id=owner.user_id,
        session=owner.session,
        progress=_share(0, sum(map(len, steps))).to_json(),
        **same,
    )
    parts = [
        TaskState(
            id=pk,
            runner_id=part.runner_id,
            name=bounded(part.name, SHORT_BYTES),
            label=bounded(part.label, SHORT_BYTES),
            call={
                "args": None if part.args is None else list(part.args),
                "kwargs": dict(part.kwargs),
                "whole": str(whole_id),
            },
            **same,
        )
        for pk, part in zip(part_ids(whole), (part for step in steps for part in step), strict=True)
    ]
    _rows().bulk_create([whole, *parts])
    return whole


def part_ids(whole: TaskState) -> list[UUID]:
    """Of its parts, in their order: worked out from its own, so that no row has to hold them. Empty for a part."""
    return [uuid5(whole.pk, str(number)) for number in range(sum(whole.call.get("steps", ())))]


def parts_of(whole: TaskState) -> list[TaskState]:
    """Its parts that have not ended; none if it is no whole."""
    ids = part_ids(whole)
    return list(_rows().filter(pk__in=ids, ended_at=None)) if ids else []


def begin_whole(whole_id: UUID | str, *, now: float | None = None) -> Changed | None:
    """Its first part begins; None if one had begun before."""
    at = _at(now)
    with _transaction():
        queued = _rows().filter(pk=whole_id, state=State.QUEUED.value)
        fields = {"started_at": at, "moved_at": at, **_BEGUN, **_kept_alive(at)}
        if not queued.update(state=State.RUNNING.value, seq=F("seq") + 1, **fields):
            return None
        return _changed(whole_id)


def gather(whole_id: UUID | str, *, now: float | None = None) -> Changed | None:
    """Count its parts anew; None if that changes nothing. With the first step that went badly it has ended."""
    at = _at(now)
    for _try in range(TRIES):
        row = _rows().filter(pk=whole_id, ended_at=None).first()
        if row is None:
            return None
        known = dict(_rows().filter(pk__in=part_ids(row)).values_list("pk", "state"))
        states = [State(known.get(pk, State.LOST)) for pk in part_ids(row)]
        done = sum(state.ended for state in states)
        progress = _share(done, len(states))
        if row.state == State.QUEUED and any(state is not State.QUEUED for state in states):
            begin_whole(row.pk, now=at)
            continue
        end_state, words = _end_of(row, states)
        if end_state is not None:
            return _end_whole(row, end_state, {"error": words, "progress": progress.to_json()}, at)
        if done == row.progress.get("current"):
            return None
        as_found = _rows().filter(pk=row.pk, seq=row.seq, ended_at=None)
        if as_found.update(seq=row.seq + 1, progress=progress.to_json(), moved_at=at, **_kept_alive(at)):
            return _changed(row.pk)
    return None


def _end_of(row: TaskState, states: Sequence[State]) -> tuple[State | None, str | None]:
    first = 0
    for size in row.call["steps"]:
        step, first = states[first : first + size], first + size
        if not all(state.ended for state in step):
            return None, None
        bad = sum(state in {State.FAILED, State.LOST} for state in step)
        if row.cancel_requested or (State.CANCELLED in step and not bad):
            return State.CANCELLED, None
        if bad:
            return State.FAILED, _("%(bad)s of %(all)s parts failed.") % {"bad": bad, "all": len(states)}
    return State.SUCCEEDED, None


def _end_whole(row: TaskState, state: State, fields: Mapping[str, Any], at: float) -> Changed | None:
    changed = _end(row.pk, Q(attempt=row.attempt), state, sources(state), fields, at)
    if changed is not None and state is not State.SUCCEEDED:
        # Of the steps that were to follow. Should their runner begin them yet: what failed may be claimed.
        _rows().filter(pk__in=part_ids(row), state=State.QUEUED.value).update(
            state=State.FAILED.value, ended_at=at, seq=F("seq") + 1
        )
    return changed


def _share(done: int, of: int) -> Progress:
    return Progress(current=done, total=of, fraction=done / of if of else None)


def _kept_alive(at: float) -> dict[str, float]:
    until = at + conf.settings().keep_queued_s
    return {"beat_at": until, "lease_until": until}


# Notices


def add_notice(
    topic: str, text: str, level: str = "info", url: str | None = None, *, now: float | None = None
) -> Notice:
    """Keep a message for whom `topic` stands for, until shown."""
    stored = StoredNotice(topic=topic, text=bounded(text), level=level, url=url, created_at=_at(now))
    stored.save(using=_alias(), force_insert=True)
    return stored.notice


def claim_notice(notice_id: UUID | str, topics: Iterable[str], *, now: float | None = None) -> bool:
    """Whether the asking page may show the notice: true once, for a page that follows its topic."""
    if not _is_id(notice_id):
        return False
    waiting = _notices().filter(pk=notice_id, topic__in=list(topics), shown_at=None)
    return waiting.update(shown_at=_at(now)) == 1


def show_notices(of: UUID | str, *, now: float | None = None) -> list[Notice]:
    """Take all that wait of a task (its id) or for a follower (a topic): each is handed out once, to be shown."""
    about = Q(topic=of) if isinstance(of, str) and ":" in of else Q(task_id__in=_ids([of]))
    at = _at(now)
    waiting = _notices().filter(about, shown_at=None).order_by("created_at")
    return [s.notice for s in waiting if _notices().filter(pk=s.pk, shown_at=None).update(shown_at=at)]


# What is kept no longer


def prune(*, now: float | None = None, most: int = PRUNED_AT_ONCE) -> Pruned:
    """Give up what nobody has begun, and delete what the settings keep no longer; at most `most` of each kind.

    Nothing goes of which somebody has yet to be told, until `keep_untold_s` is over.
    """
    at, s = _at(now), conf.settings()
    shown = Q(shown_at__lt=at - s.keep_ended_s) | Q(shown_at=None, created_at__lt=at - s.keep_untold_s)
    notices = list(_notices().filter(shown).values_list("pk", flat=True)[:most])
    untold = _notices().filter(shown_at=None).exclude(pk__in=notices).values("task_id").exclude(task_id=None)
    kept_no_longer = _rows().filter(ended_at__lt=at - s.keep_ended_s).exclude(pk__in=untold)
    tasks = list(kept_no_longer.values_list("pk", flat=True)[:most])
    with _transaction():
        _notices().filter(pk__in=notices).delete()
        # A person may have run it again this moment.
        _rows().filter(pk__in=tasks, ended_at__lt=at - s.keep_ended_s).delete()
    return Pruned(tasks=len(tasks), notices=len(notices), given_up=_give_up(at, most))


def _give_up(at: float, most: int) -> list[Changed]:
    since = at - conf.settings().keep_queued_s
    queued, retrying = Q(state=State.QUEUED.value), Q(state=State.RETRYING.value)
    asked_for = (queued & Q(created_at__lt=since)) | (retrying & Q(beat_at__lt=since))
    waiting = _rows().filter((queued | retrying) & Q(due_at__lt=since) | asked_for & Q(due_at=None))
    words = {"error": _("Nobody began it.")}
    ended = [
        _end(pk, Q(attempt=attempt), State.FAILED, sources(State.FAILED) - {State.RUNNING}, words, at)
        for pk, attempt in waiting.values_list("pk", "attempt")[:most]
    ]
    return [changed for changed in ended if changed is not None]


# Small things


def _is(field: str, value: object) -> Q:
    # `exclude(field=1)` would leave out rows where it is null.
    return Q(**{f"{field}__isnull": True}) if value is None else Q(**{field: value, f"{field}__isnull": False})


def _at(given: float | None) -> float:
    return now() if given is None else given


def _alias() -> str:
    return conf.settings().database


def _rows() -> "QuerySet[TaskState]":
    return TaskState.objects.using(_alias())


def _notices() -> "QuerySet[StoredNotice]":
    return StoredNotice.objects.using(_alias())


def _transaction() -> transaction.Atomic:
    return transaction.atomic(using=_alias())


def _values(states: Iterable[State]) -> list[str]:
    return [state.value for state in states]


def _find(task_id: UUID | str | None, runner: str | None, runner_id: str | None) -> TaskState | None:
    if task_id is not None:
        return _rows().filter(pk=task_id).first()
    if runner is None or runner_id is None:
        raise ValueError("A task is claimed by task_id, or by runner and runner_id together.")
    return _rows().filter(runner=runner, runner_id=runner_id).first()


def _changed(task_id: UUID | str) -> Changed | None:
    row = _rows().filter(pk=task_id).first()
    return Changed(snapshot=row.snapshot, topics=row.topics) if row else None


def _is_id(value: object) -> bool:
    try:
        UUID(str(value))
    except ValueError:
        return False
    return True


def _ids(values: Iterable[UUID | str]) -> list[UUID]:
    return [UUID(str(value)) for value in values if _is_id(value)]


def _sorted(topics: Iterable[str]) -> tuple[list[UUID], list[Any], list[str]]:
    tasks: list[UUID] = []
    users: list[Any] = []
    sessions: list[str] = []
    to_pk = TaskState._meta.get_field("owner").target_field.to_python
    for topic in set(topics):
        try:
            kind, name = parse(topic)
            if kind == "task":
                tasks += _ids([name])
            elif kind == "user":
                users.append(to_pk(name))
            elif kind == "session":
                sessions.append(name)
        except (InvalidTopic, ValidationError):
            continue  # Nobody can follow it, so nothing is found for it.
    return tasks, users, sessions


def _any_of(**lookups: list[Any]) -> Q:
    found = Q()
    for lookup, values in lookups.items():
        if values:
            found |= Q(**{lookup: values})
    return found
