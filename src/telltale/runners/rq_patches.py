"""The patches of RQ, which sends no signals: where jobs are created, published, run and ended. Used by `rq.py`."""

import os
from collections.abc import Callable, Collection
from contextvars import ContextVar
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any
from uuid import uuid4

from django.db import transaction
from rq import Queue, Repeat, Retry, Worker, get_current_job
from rq.job import Job
from rq.worker import BaseWorker

from telltale import brokers, conf
from telltale.core.states import State
from telltale.dispatch.patching import patch
from telltale.dispatch.runner import suppress_and_log
from telltale.dispatch.task_header import HEADER, new_header
from telltale.dispatch.tracked import wrap
from telltale.runners.reused_ids import header_for
from telltale.runners.rq_jobs import (
    NAME,
    ReturnedRetry,
    call_of,
    header_of,
    options_of_function,
    options_of_job,
)

_horse_pid: ContextVar[int] = ContextVar("telltale_rq_horse_pid", default=0)
"""The work horse for which this worker waits; 0 if there is none."""

_is_performing: ContextVar[bool] = ContextVar("telltale_rq_is_performing", default=False)
"""Whether this process runs a job itself."""


def install() -> None:
    """Patch RQ's methods."""
    patch(Queue, "create_job", _create_job)
    patch(Queue, "enqueue_call", _enqueue_call)
    patch(Queue, "schedule_job", _schedule_job)
    patch(Queue, "enqueue_many", _enqueue_many)
    patch(Repeat, "schedule", _repeat)
    patch(Job, "cancel", _cancel_job)
    patch(Job, "_execute", _execute_job)
    patch(BaseWorker, "perform_job", _perform_job)
    patch(Worker, "monitor_work_horse", _monitor_work_horse)
    patch(BaseWorker, "handle_job_failure", _handle_job_failure)


# Where jobs are published


def _create_job(original: Callable[..., Job], self: Queue, func: Any, *args: Any, **kwargs: Any) -> Job:
    """Add our header to the job, before it is stored."""
    header = None
    if options_of_function(func) is not None and HEADER not in (kwargs.get("meta") or {}):
        parent = get_current_job()
        header = new_header(header_of(parent) if parent is not None else None)
        if header.runner_id is not None:
            kwargs["job_id"] = header.runner_id
        elif kwargs.get("job_id"):
            header = header_for(NAME, kwargs["job_id"], header)
    job = original(self, func, *args, **kwargs)
    if header is not None:
        job.meta = {**(job.meta or {}), HEADER: header.to_json()}
    return job


def _enqueue_call(original: Callable[..., Any], self: Queue, *args: Any, **kwargs: Any) -> Any:
    job = original(self, *args, **kwargs)
    _create_row(job)
    return job


def _schedule_job(original: Callable[..., Any], self: Queue, job: Job, *args: Any, **kwargs: Any) -> Any:
    result = original(self, job, *args, **kwargs)
    # RQ also schedules retries with an interval; their row exists.
    if not job.number_of_retries:
        _create_row(job, kwargs.get("datetime") or args[0])
    return result


def _enqueue_many(original: Callable[..., Any], self: Queue, *args: Any, **kwargs: Any) -> Any:
    jobs = original(self, *args, **kwargs)
    for job in jobs:
        _create_row(job)
    return jobs


def _repeat(original: Callable[..., datetime | None], job: Job, *args: Any, **kwargs: Any) -> datetime | None:
    """A repetition of a job that has succeeded is a task of its own, with the owner of the first."""
    header = header_of(job)
    if header is not None:
        new = replace(header, task_id=uuid4(), needs_row=True)
        job.meta = {**job.meta, HEADER: header_for(NAME, str(job.id), new).to_json()}
    due_at = original(job, *args, **kwargs)
    _create_row(job, due_at)
    return due_at


@suppress_and_log
def _create_row(job: Job | None, due_at: datetime | None = None) -> None:
    """Create the row. Not before the job is enqueued, so that a failure to enqueue leaves no row."""
    from telltale.dispatch.rows import create_row_unless_there
    from telltale.worker.outside import is_in_site_transaction

    if job is None:
        return  # django-rq enqueues the job when the transaction commits, and this is called again then.
    header = header_of(job)
    if header is None or not header.needs_row:
        return
    create_row = partial(create_row_unless_there, call_of(job, due_at))
    if is_in_site_transaction():
        # The work horse creates the row if it is faster. It exits after its job, so it can't wait for this transaction.
        transaction.on_commit(create_row, using=conf.settings().database, robust=True)
    else:
        create_row()


# Where jobs run


def _execute_job(original: Callable[..., Any], self: Job) -> Any:
    """Show the whole run of the job: also decorators above `tracked`, and a returned `Retry`."""
    options = options_of_job(self)
    if options is None:
        return original(self)

    def execute(job: Job) -> Any:
        value = original(job)
        # Without a worker, in a queue that is not async, RQ takes it for a result like any other.
        if isinstance(value, Retry) and job.worker_name != "sync":
            raise ReturnedRetry(value)
        return value

    try:
        return wrap(execute, options)(self)
    except ReturnedRetry as returned:
        return returned.retry


def _perform_job(original: Callable[..., bool], self: Any, *args: Any, **kwargs: Any) -> bool:
    """Write and send what is left over: a work horse leaves by `os._exit`, which skips all exit handlers."""
    token = _is_performing.set(True)
    try:
        return original(self, *args, **kwargs)
    finally:
        _is_performing.reset(token)
        if self.is_horse:
            _write_last_ends()
            _close_broker()


@suppress_and_log
def _write_last_ends() -> None:
    from telltale.worker.reporter import reporter

    reporter().saver.write_last_ends()


@suppress_and_log
def _close_broker() -> None:
    brokers.reset()


# Where jobs end, other than by their function


def _cancel_job(original: Callable[..., Any], self: Job, *args: Any, **kwargs: Any) -> Any:
    """A waiting job that the site cancels never runs."""
    result = original(self, *args, **kwargs)
    _end(self, State.CANCELLED)
    return result


def _monitor_work_horse(original: Callable[..., Any], self: Any, *args: Any, **kwargs: Any) -> Any:
    """Remember the work horse's process. RQ forgets it before it reports the job's failure."""
    token = _horse_pid.set(self.horse_pid)
    try:
        return original(self, *args, **kwargs)
    finally:
        _horse_pid.reset(token)


def _handle_job_failure(original: Callable[..., Any], self: Any, job: Job, *args: Any, **kwargs: Any) -> Any:
    """End the row, or show that RQ will run the job again, if the process that ran the job could not."""
    was_stopped = getattr(self, "_stopped_job_id", None) == job.id
    retry_after_s = job.get_retry_interval() if job.should_retry and not was_stopped else None
    result = original(self, job, *args, **kwargs)
    if retry_after_s is not None:
        if not _is_performing.get():
            _show_as_retrying(job, retry_after_s)
    elif _is_performing.get():
        _fail_unbegun(job)
    else:
        # Without a work horse, RQ's maintenance has found a job that was taken from the queue and not begun.
        pids = [_horse_pid.get() or os.getpid()]
        _end(job, State.CANCELLED if was_stopped else State.LOST, pids=pids)
    return result


@suppress_and_log
def _fail_unbegun(job: Job) -> None:
    """In the process that ran the job: the wrapper has written the end, unless the job failed before."""
    from telltale.runners.unfinished_runs import fail_unbegun

    is_known = options_of_job(job) is not None
    if is_known or header_of(job) is not None:
        fail_unbegun(NAME, str(job.id), is_known=is_known)


@suppress_and_log
def _end(job: Job, state: State, *, pids: Collection[int] = ()) -> None:
    """As `end_from_outside`: without `pids`, only a job that waits is ended."""
    from telltale.dispatch.rows import end_from_outside

    if header_of(job) is None and options_of_job(job) is None:
        return
    status = job.get_status(refresh=False)
    end_from_outside(NAME, str(job.id), state, pids=pids, detail=f"RQ: {status.value if status else 'gone'}")


@suppress_and_log
def _show_as_retrying(job: Job, after_s: float) -> None:
    """In the worker's main process: the work horse was killed, and RQ has enqueued the job again."""
    from telltale import store
    from telltale.runners.unfinished_runs import show_as_retrying

    show_as_retrying(NAME, str(job.id), pids=[_horse_pid.get()], due_at=store.now() + after_s)
