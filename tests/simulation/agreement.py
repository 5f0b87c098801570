"""The end of a history: all pages agree with the store, the store with the workers, and each end has its notice."""

from collections.abc import Sequence

from telltale.core.states import State
from tests.simulation.browser import Page
from tests.simulation.ledger import LEASE_S, Ledger, require
from tests.simulation.store import Store
from tests.simulation.worker import Run, Worker

EXPIRED_FOR_S = 20.0
"""How long a task may stay running after its lease expired: a re-read, which marks it as lost, comes within this."""


def check_agreement(
    store: Store, ledger: Ledger, workers: Sequence[Worker], pages: Sequence[Page], *, now: float
) -> None:
    """Raise `Broken` unless all agree. All faults have ended, and all messages have arrived."""
    alive = [worker for worker in workers if worker.up]
    runs = [run for worker in alive for run in worker.runs]
    for worker in alive:
        _check_worker(worker, store)
    for task, row in store.rows.items():
        owns = [run for run in runs if run.snapshot.id == task and run.snapshot.attempt == row.attempt]
        _check_row(task, owns, store, now)
        for page in pages:
            if page.may_see(task):
                _check_page(page, task, owns, store)
    _check_notices(store, ledger)


def _check_worker(worker: Worker, store: Store) -> None:
    for run in worker.finished:
        require(run.is_answered, "G1: an end was never written, although its worker lives")
    for run in worker.runs:
        row = store.rows[run.snapshot.id]
        if row.attempt == run.snapshot.attempt and not row.ended:
            is_known = row.cancel_requested <= run.snapshot.cancel_requested
            require(is_known, "I9: a worker never learnt of a cancellation")


def _check_row(task: str, owns: Sequence[Run], store: Store, now: float) -> None:
    row, lease = store.rows[task], store.leases[task]
    if row.state in (State.RUNNING, State.RETRYING):
        require(lease is not None and lease > now - EXPIRED_FOR_S, f"I8: {row.state} forever")
        has_new_beat = now <= (row.beat_at or 0.0) + LEASE_S
        require(bool(owns) or row.state is State.RETRYING or has_new_beat, "I8: running without a worker")


def _check_page(page: Page, task: str, owns: Sequence[Run], store: Store) -> None:
    row, shown = store.rows[task], page.view.tasks.get(task)
    require(shown is not None, f"I7: {page.name} never got {task}")
    assert shown is not None
    same = (shown.attempt, shown.state) == (row.attempt, row.state)
    require(same, f"I7: {page.name} shows {shown.state} {shown.order}, the store has {row.state} {row.order}")
    if row.ended:
        require(shown == row, f"I7: {page.name} shows another end than the store has")
    for run in owns if row.state is State.RUNNING else ():
        fraction = shown.progress.fraction
        require(fraction == run.fraction, f"I6: {page.name} shows {fraction}, the task had {run.fraction}")
        require(shown.cancel_requested == row.cancel_requested, f"I7: {page.name} shows another cancel_requested")


def _check_notices(store: Store, ledger: Ledger) -> None:
    for (task, attempt), end in ledger.ends.items():
        if (task, attempt) in ledger.took_back:
            continue  # Its notice was deleted if no page had shown it.
        found = [n for n in store.notices.values() if n.task == task and n.text == end.state]
        require(bool(found), f"N: the end of attempt {attempt} has no notice")
    for notice in store.notices.values():
        require(notice.id in ledger.shown_notices, "N: a notice was never shown")
