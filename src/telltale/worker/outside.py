"""Claims and ends of a task that runs in a transaction which its site opened around it, such as `@transaction.atomic`.

Written in that transaction, they would be rolled back with it: the task would be queued for ever, or its failure would
leave no trace. So they are written in another thread, which has a connection of its own. SQLite has one writer at a
time, which may be that transaction, so there the end of a task that failed is written again after it.
"""

from collections.abc import Callable, Mapping
from contextvars import copy_context
from typing import Any, TypeVar

from django.db import OperationalError, connections

from telltale import conf, native, store
from telltale.core.states import State
from telltale.messages import announce
from telltale.worker.attempt import Attempt

T = TypeVar("T")


def is_in_site_transaction() -> bool:
    """Whether this thread is in a transaction that another connection can't see, other than a test case's."""
    connection = connections[conf.settings().database]
    # What a test case writes is in its transaction alone, and is rolled back as a whole.
    blocks: list[Any] = connection.atomic_blocks
    return connection.in_atomic_block and not any(block._from_testcase for block in blocks)


def can_write_outside() -> bool:
    """Whether another connection can write while this thread's transaction is open."""
    return is_in_site_transaction() and connections[conf.settings().database].vendor != "sqlite"


def run_outside(function: Callable[[], T]) -> T:
    """Return `function()`, called in another thread, with a connection of its own; raise what it raises."""
    results: list[T] = []
    errors: list[BaseException] = []
    is_done, context = native.OneShotEvent(), copy_context()

    def call() -> None:
        try:
            with store.time_limit():
                results.append(context.run(function))
        except BaseException as error:
            errors.append(error)
        finally:
            connections[conf.settings().database].close()
            is_done.set()

    try:
        native.start_thread(call, name="telltale-outside")
    except RuntimeError as error:
        raise OperationalError(f"No thread could be started to write outside of the transaction: {error}.") from error
    is_done.wait()
    if errors:
        raise errors[0]
    return results[0]


def end_if_rolled_back(attempt: Attempt, state: State, fields: Mapping[str, Any]) -> None:
    """End the task whose claim and end were rolled back. Call it on another connection, after the transaction."""
    claim = attempt.claim
    row = store.task_rows().filter(pk=claim.id, ended_at=None).first() if claim is not None else None
    if claim is None or row is None:
        return
    if row.attempt < claim.attempt or row.state == State.QUEUED:
        # The row is as it was before the claim, unless another delivery changes it now.
        changed = store.end(row.pk, row.attempt, state, worker=row.worker, **fields)
        announce(changed.envelopes if changed else [])
