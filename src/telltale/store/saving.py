"""Saves the reports of workers and renews their leases: many tasks in one statement.

The race: a report must not be saved once its attempt has ended or a newer attempt began. The UPDATE requires the
running attempt. While its rows are locked, the same transaction reads the verdict of each report.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from django.db import connections
from django.db.models import F

from telltale import conf
from telltale.core.snapshot import SHORT_BYTES, bounded
from telltale.core.states import State
from telltale.core.topics import task_topic
from telltale.models import TaskState
from telltale.owners import Owner
from telltale.store.clock import or_now
from telltale.store.lock_waits import in_impatient_transaction
from telltale.store.rows import database, task_rows
from telltale.store.values import Report, Saved

SAVED_AT_ONCE: Final = 80
"""How many reports share a transaction. It takes some milliseconds, for which an end may have to wait. Each report has
twelve parameters, and some databases limit a statement to 999."""


def save(reports: Sequence[Report], *, now: float | None = None) -> list[Saved]:
    """Save reports and renew their leases in one transaction; return the result of each, in order.

    Pass at most `SAVED_AT_ONCE`, because SQLite blocks all other writers meanwhile. If one report can't be saved,
    none is. Raises `RowLocked` if another transaction has locked a row for too long.
    """
    instant = or_now(now)
    lease = {"beat_at": instant, "lease_until": instant + conf.settings().lease_s}
    columns = ("attempt", "state", "cancel_requested", "seq", "owner_id", "session")
    rows = task_rows().filter(pk__in=[report.id for report in reports]).values_list("pk", *columns)
    with in_impatient_transaction():
        _save_beats([report for report in reports if report.is_beat], lease)
        _save_progress([report for report in reports if not report.is_beat], lease)
        # One UPDATE of many rows has one count, so the verdicts are read. The rows that were written are locked until
        # the commit, and an attempt that is over never runs again: a row that belongs to the attempt now also did
        # when it was written.
        values_by_id = {pk: values for pk, *values in rows}
    return [_verdict(report, values_by_id.get(report.id)) for report in reports]


def _save_beats(reports: Sequence[Report], lease: Mapping[str, float]) -> None:
    for attempt in sorted({report.attempt for report in reports}):
        ids = [report.id for report in reports if report.attempt == attempt]
        running = task_rows().filter(pk__in=ids, attempt=attempt, state=State.RUNNING.value)
        running.update(seq=F("seq") + 1, **lease)


# One UPDATE from a table of values, written by hand: building one with the ORM takes ten times as long, and one
# statement for each report would be as many round trips. The larger `seq` wins, because a request to cancel may have
# counted up the row's.
_ASSIGNMENTS: Final = """
    progress = new_progress, moved_at = new_moved_at, remaining_s = new_remaining_s,
    remaining_spread = new_remaining_spread, no_cancel = new_no_cancel,
    label = COALESCE(new_label, label), stage_times = COALESCE(new_stage_times, stage_times),
    seq = CASE WHEN seq < new_seq THEN new_seq ELSE seq END,
    beat_at = new_beat_at, lease_until = new_lease_until
"""
_SAME_ATTEMPT: Final = f"id = new_id AND attempt = new_attempt AND state = '{State.RUNNING.value}'"


def _save_progress(reports: Sequence[Report], lease: Mapping[str, float]) -> None:
    if not reports:
        return
    connection, table = connections[database()], TaskState._meta.db_table
    rows = [_row_values(report, connection) | dict(lease) for report in reports]
    # The first SELECT gives each column its type; some databases would take it for text.
    first = ", ".join(f"{_placeholder(name, connection)} AS new_{name}" for name in rows[0])
    others = f" UNION ALL SELECT {', '.join(['%s'] * len(rows[0]))}" * (len(rows) - 1)
    if connection.vendor == "mysql":
        statement = f"UPDATE {table}, (SELECT {first}{others}) AS reports SET {_ASSIGNMENTS} WHERE {_SAME_ATTEMPT}"  # noqa: S608
    else:
        statement = f"UPDATE {table} SET {_ASSIGNMENTS} FROM (SELECT {first}{others}) AS reports WHERE {_SAME_ATTEMPT}"  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(statement, [value for row in rows for value in row.values()])


def _row_values(report: Report, connection: Any) -> dict[str, Any]:
    return {
        "id": _field("id").get_db_prep_save(report.id, connection),
        "attempt": report.attempt,
        "seq": report.seq,
        "progress": _field("progress").get_db_prep_save(report.progress.to_json(), connection),
        "moved_at": report.moved_at,
        "remaining_s": report.remaining_s,
        "remaining_spread": report.remaining_spread,
        "no_cancel": report.no_cancel,
        "label": None if report.label is None else bounded(report.label, SHORT_BYTES),
        "stage_times": _field("stage_times").get_db_prep_save(report.stage_times, connection),
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
    attempt, state, cancel_requested, seq, user_id, session = row
    if (attempt, state) == (report.attempt, State.LOST):
        return Saved(id=report.id, attempt=attempt, fenced=False, lost=True, seq=seq)
    if (attempt, state) != (report.attempt, State.RUNNING):
        return Saved(id=report.id, attempt=report.attempt, fenced=True)
    topics: tuple[str, ...] = ()
    if session and user_id is not None:
        topics = (task_topic(report.id), *Owner(user_id=user_id, session=session).topics)
    return Saved(id=report.id, attempt=attempt, fenced=False, cancel_requested=cancel_requested, seq=seq, topics=topics)
