"""What Telltale reads from a job of RQ: its header, its options, its call. Used by `rq.py` and `rq_patches.py`."""

import inspect
from datetime import datetime
from typing import Any, Final

from rq import Retry
from rq.job import Job

from telltale.dispatch.follow import options_of_task
from telltale.dispatch.import_paths import dotted_name, import_or_none
from telltale.dispatch.runner import Call, TaskOptions, options_of
from telltale.dispatch.task_header import HEADER, TaskHeader

NAME: Final = "rq"
"""The name of the runner."""


class ReturnedRetry(Exception):
    """Leaves the run of a job that returned `Retry`: that is no success, because RQ runs the job again, or fails it."""

    def __init__(self, retry: Retry) -> None:
        super().__init__(f"The job returned {retry!r}.")
        self.retry = retry


def options_of_job(job: Job) -> TaskOptions | None:
    """The options of the job's function; None if it is not shown, or can't be imported."""
    # A job may call a method of an object, or a function that this process can't import.
    if job.instance is not None or not job.func_name:
        return None
    try:
        return options_of_task(job.func, str(job.func_name))
    except (ImportError, AttributeError, ValueError):
        return None


def options_of_function(function: Any) -> TaskOptions | None:
    """The options of a function that is to be enqueued: the function, or its dotted name."""
    if isinstance(function, str):
        return options_of_task(import_or_none(function), function)
    return options_of_task(function, dotted_name(function)) if inspect.isroutine(function) else options_of(function)


def header_of(job: Job) -> TaskHeader | None:
    """The header in the job's `meta`; None for a job without one."""
    return TaskHeader.from_json((job.meta or {}).get(HEADER))


def call_of(job: Job, due_at: datetime | None = None) -> Call:
    """The run of the job."""
    header = header_of(job)
    return Call(
        runner=NAME,
        runner_id=str(job.id),
        name=str(job.func_name),
        args=job.args or (),
        kwargs=job.kwargs or {},
        task_id=header.task_id if header else None,
        owner=header.owner if header else None,
        options=options_of_job(job),
        delivery=job.number_of_retries or 0,
        due_at=due_at.timestamp() if due_at else None,
        queue=str(job.origin or ""),
    )
