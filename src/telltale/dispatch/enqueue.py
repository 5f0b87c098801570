"""`telltale.enqueue` and `telltale.enqueue_many`: queue tasks with any runner.

The row is written first, in the caller's transaction, so that the task is visible before a worker can run it. The
runner gets the task after the commit (`submit.py`). If the runner can't take it, the row is deleted.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any
from uuid import UUID, uuid4

from django.db import transaction

from telltale import conf, store
from telltale.core.wire import Envelope
from telltale.dispatch.registry import runner_of
from telltale.dispatch.runner import (
    FollowsNames,
    KnowsQueue,
    PendingCall,
    Runner,
    TaskOptions,
    new_runner_id,
    options_of,
    start_by,
)
from telltale.dispatch.submit import submit, submit_many
from telltale.messages import announce
from telltale.models import TaskState
from telltale.owners import CURRENT_OWNER, resolve_owner


def enqueue(
    task: Any, /, *args: Any, owner: Any = CURRENT_OWNER, key: str | None = None, label: object = None, **kwargs: Any
) -> TaskState:
    """Queue a run of `task` (a Celery task, a `django.tasks` task, a tracked function); returns its row.

    `owner`: a user, a request, or None for no owner; by default the owner of the current request or task.
    `key`: if the owner has an open task of this name and key, it is returned and nothing is queued. If the task says
    `tracked(shared=True)`, another owner's is returned too, and `owner` may follow it from then on.
    `label`: the task's name for people; by default the label of `tracked`.
    The arguments must be JSON, because they are stored so that a person can retry the task.

    Raises `TypeError` if the task or an argument can't be used. Raises `EnqueueFailed` if the runner can't take the
    task: at once, or when the caller's transaction commits.
    """
    runner, name, options = _runner_name_options(task)
    _check_arguments(name, args, kwargs)
    task_owner = resolve_owner(owner)
    runner_id = new_runner_id(runner)
    queued = store.queue(
        runner=runner.name,
        runner_id=runner_id,
        name=name,
        label=_label(label, options, name),
        args=args,
        kwargs=kwargs,
        owner=task_owner,
        key=key if key is not None or options.key is None else options.key(*args, **kwargs),
        is_shared=options.shared,
        queue_name=_queue(runner, task),
        start_by=start_by(runner, task, now=store.now()),
    )
    if queued.joined:
        return queued.task
    announce([Envelope(topics=queued.task.topics, snapshot=queued.task.snapshot)])
    call = PendingCall(args=args, kwargs=kwargs, task_id=queued.task.pk, runner_id=runner_id)
    transaction.on_commit(
        partial(submit, runner, task, call, owner=task_owner, undo=_delete_row), using=conf.settings().database
    )
    return queued.task


def enqueue_many(
    task: Any, calls: Iterable[Sequence[Any]], /, *, owner: Any = CURRENT_OWNER, label: object = None
) -> list[TaskState]:
    """Queue a run of `task` for each of `calls`, which are its positional arguments; returns the rows in that order.

    All are given to the runner at once if it can take them so (`Ability.BULK`), else one by one. The key of `tracked`
    is ignored. Raises the same errors as `enqueue`. If the runner takes tasks one by one and refuses one, the tasks
    before it stay queued.
    """
    runner, name, options = _runner_name_options(task)
    task_owner = resolve_owner(owner)
    arguments = [tuple(args) for args in calls]
    for args in arguments:
        _check_arguments(name, args, {})
    pending_calls = [
        PendingCall(args=args, kwargs={}, task_id=uuid4(), runner_id=new_runner_id(runner)) for args in arguments
    ]
    rows = store.queue_many(
        [(call.task_id, call.runner_id, call.args) for call in pending_calls],
        runner=runner.name,
        name=name,
        label=_label(label, options, name),
        owner=task_owner,
        queue_name=_queue(runner, task),
        start_by=start_by(runner, task, now=store.now()),
    )
    announce([Envelope(topics=row.topics, snapshot=row.snapshot) for row in rows])
    transaction.on_commit(
        partial(submit_many, runner, task, pending_calls, owner=task_owner, undo=_delete_row),
        using=conf.settings().database,
    )
    return rows


def _runner_name_options(task: object) -> tuple[Runner, str, TaskOptions]:
    runner = runner_of(task)
    name = runner.name_of(task)
    followed = runner.options_for(task) if isinstance(runner, FollowsNames) else None
    options = followed or options_of(runner.function_of(task))
    if options is None:
        raise TypeError(
            f"{name} is not tracked, so its run would stay queued for ever: put @telltale.tracked beneath its "
            "runner's decorator."
        )
    return runner, name, options


def _label(label: object, options: TaskOptions, name: str) -> str:
    return str(label or options.label_for(name))


def _queue(runner: Runner, task: object) -> str:
    return runner.queue_of(task) if isinstance(runner, KnowsQueue) else ""


def _delete_row(task_id: UUID, error: BaseException) -> None:
    store.delete_queued(task_id)


def _check_arguments(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    for argument, value in [*((f"argument {n}", value) for n, value in enumerate(args, 1)), *kwargs.items()]:
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"{argument} of {name} is {value!r:.80}, which JSON can't hold ({error}): "
                "pass a plain value, such as a primary key, and look the rest up in the task."
            ) from error
