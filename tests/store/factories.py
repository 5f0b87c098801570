"""What the store's tests share: queued tasks, claims, reports, and calls that run at the same moment."""

import threading
from collections.abc import Callable
from typing import Any

from django.db import connection

from telltale import store
from telltale.core.snapshot import Progress
from telltale.models import TaskState


def queue(**columns: Any) -> TaskState:
    """A new queued task."""
    return store.queue(**({"runner": "test", "name": "work", "label": "Work"} | columns)).task


def claim(task: TaskState, worker: str = "w") -> store.Claim:
    """A new attempt of the task."""
    claimed = store.claim(task_id=task.pk, worker=worker)
    assert isinstance(claimed, store.Claim)
    return claimed


def report(claimed: store.Claim, fraction: float = 0.5, *, seq: int = 5) -> store.Report:
    """A report of progress."""
    return store.Report(id=claimed.id, attempt=claimed.attempt, seq=seq, progress=Progress(fraction=fraction))


def beat(claimed: store.Claim, *, seq: int = 2) -> store.Report:
    """A report that only renews the lease."""
    return store.Report(id=claimed.id, attempt=claimed.attempt, seq=seq, progress=Progress(), is_beat=True)


def run_at_once(*calls: Callable[[], Any]) -> list[Any]:
    """The results of calls in threads that start together; an exception counts as a result."""
    results: list[Any] = [None] * len(calls)
    barrier = threading.Barrier(len(calls))

    def run(index: int) -> None:
        barrier.wait()
        try:
            results[index] = calls[index]()
        except Exception as error:
            results[index] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results
