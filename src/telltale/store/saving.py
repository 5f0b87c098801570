"""What workers report is saved, and their leases are renewed with it: many tasks by one statement.

The race: an attempt that has ended, or that a newer one follows, must not be written to. The UPDATE is conditional on
the running attempt, and while its rows are locked the same transaction reads each verdict. Knows nothing of how often
one reports. Called by `worker`'s saver.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from django.db import connections
from django.db.models import F

from telltale import conf
from telltale.core.snapshot import SHORT_BYTES, bounded
from telltale.core.states import State
from telltale.models import TaskState
from telltale.store.clock import instant
from telltale.store.rows import database, in_transaction, task_rows
from telltale.store.values import Report, Saved

SAVED_AT_ONCE: Final = 90
"""How many reports share a transaction: some milliseconds, for which ends may have to wait. Each has ten parameters,
and a statement has 999 at most wherever they are counted."""


def save(reports: Sequence[Report], *, now: float | None = None) -> list[Saved]:
    """Save what workers report and renew their leases, in one transaction; what became of each, in their order.

    Give it `SAVED_AT_ONCE` at most: on SQLite everybody else waits meanwhile. If one report can't be saved, none is.
    """
    at = instant(now)
    clocks = {"beat_at": at, "lease_until": at + conf.settings().lease_s}
    fields = ("attempt", "state", "cancel_requested", "seq")
    present = task_rows().filter(pk__in=[report.id for report in reports]).values_list("pk", *fields)
    with in_transaction():
        _save_beats([report for report in reports if report.is_beat], clocks)
        _save_news([report for report in reports if not report.is_beat], clocks)
        # Many rows have one count, so the verdicts are read. What was written is locked until the commit, and an
        # attempt that is over never runs again: so a row that is an attempt's own now was so when it was written.
        rows = {pk: rest for pk, *rest in present}
    return [_verdict(report, rows.get(report.id)) for report in reports]


def _save_beats(reports: Sequence[Report], clocks: Mapping[str, float]) -> None:
    for attempt in sorted({report.attempt for report in reports}):
        ids = [report.id for report in reports if report.attempt == attempt]
        running = task_rows().filter(pk__in=ids, attempt=attempt, state=State.RUNNING.value)
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
    connection, rows = connections[database()], TaskState._meta.db_table
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
