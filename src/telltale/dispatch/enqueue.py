"""`telltale.enqueue`, and what people may ask of a task afterwards: cancel it, run it again.

The row comes first, in the caller's transaction, so that the task is visible before a worker can run it;
the runner gets it after the commit. If the runner can't take it, no row is left that says "queued".
Called by views and by `pages/views.py`; knows runners by their contract only.
"""

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any
from uuid import UUID, uuid4

from django.db import transaction

from telltale import conf, store
from telltale.core.states import State
from telltale.core.wire import Envelope
from telltale.dispatch.registry import runner_of
from telltale.dispatch.runner import (
    ChoosesId,
    EnqueueFailed,
    EnqueuesMany,
    PendingCall,
    Runner,
    TaskOptions,
    options_of,
)
from telltale.dispatch.tracked import label_from_name
from telltale.messages import announce
from telltale.models import TaskState
from telltale.owners import PRESENT, Owner, chosen_owner, owned_by

logger = logging.getLogger(__name__)


def enqueue(
    task: Any, /, *args: Any, owner: Any = PRESENT, key: str | None = None, label: object = None, **kwargs: Any
) -> TaskState:
    """Queue a run of `task` (a Celery task, a `django.tasks` task, a tracked function); returns its row.

    `owner`: a user, a request, None for nobody; by default whoever the present request belongs to.
    `key`: if a task of this name and key is still open, that one is returned and nothing is queued.
    `label`: what people read, instead of the one that `tracked` was given.
    Arguments must be JSON, for they are kept so that a person can run the task again.

    Raises `EnqueueFailed` if the runner can't take it: at once, or inside a transaction from its commit.
    """
    runner, name, options = _known(task)
    _refuse_unstorable(name, args, kwargs)
    whose = chosen_owner(owner)
    runner_id = new_runner_id(runner)
    queued = store.queue(
        runner=runner.name,
        runner_id=runner_id,
        name=name,
        label=_words(label, options, name),
        args=args,
        kwargs=kwargs,
        owner=whose,
        key=key if key is not None or options.key is None else options.key(*args, **kwargs),
    )
    if queued.joined:
        return queued.task
    announce([Envelope(topics=queued.task.topics, snapshot=queued.task.snapshot)])
    transaction.on_commit(
        partial(_hand_over_first, runner, task, args, kwargs, queued.task.pk, runner_id, whose),
        using=conf.settings().database,
    )
    return queued.task


def enqueue_many(
    task: Any, calls: Iterable[Sequence[Any]], /, *, owner: Any = PRESENT, label: object = None
) -> list[TaskState]:
    """Queue a run of `task` for each of `calls`, its positional arguments; returns their rows in that order.

    In one go where the runner can (`Ability.BULK`), else one by one. Keys join nothing here. Raises as
    `enqueue`; where the runner takes one by one and refuses, those before it are queued and stay so.
    """
    runner, name, options = _known(task)
    whose, args_of = chosen_owner(owner), [tuple(args) for args in calls]
    for args in args_of:
        _refuse_unstorable(name, args, {})
    handovers = [
        PendingCall(args=args, kwargs={}, task_id=uuid4(), runner_id=new_runner_id(runner)) for args in args_of
    ]
    words = _words(label, options, name)
    rows = store.queue_many(
        [(h.task_id, h.runner_id, h.args) for h in handovers], runner=runner.name, name=name, label=words, owner=whose
    )
    announce([Envelope(topics=row.topics, snapshot=row.snapshot) for row in rows])
    transaction.on_commit(partial(_hand_over_many, runner, task, handovers, whose), using=conf.settings().database)
    return rows


def _known(task: object) -> tuple[Runner, str, TaskOptions]:
    runner = runner_of(task)
    name = runner.name_of(task)
    options = options_of(runner.function_of(task))
    if options is None:
        raise TypeError(
            f"{name} is not tracked, so its run would stay queued for ever: put @telltale.tracked beneath its "
            "runner's decorator."
        )
    return runner, name, options


def _words(label: object, options: TaskOptions, name: str) -> str:
    return str(label or options.label or label_from_name(name.rpartition(".")[2]))


def new_runner_id(runner: Runner) -> str | None:
    return runner.new_id() if isinstance(runner, ChoosesId) else None


def _hand_over_many(runner: Runner, task: object, handovers: Sequence[PendingCall], owner: Owner) -> None:
    if not isinstance(runner, EnqueuesMany):
        for done, one in enumerate(handovers):
            try:
                _hand_over_first(runner, task, one.args, one.kwargs, one.task_id, one.runner_id, owner)
            except EnqueueFailed:
                for other in handovers[done + 1 :]:
                    store.delete_queued(other.task_id)
                raise
        return
    try:
        with owned_by(owner):
            known_ids = runner.enqueue_many(task, handovers)
    except BaseException as error:
        for one in handovers:
            store.delete_queued(one.task_id)
        raise enqueue_failed(runner, task, error) from error
    for one, known_id in zip(handovers, known_ids, strict=True):
        if known_id != one.runner_id:
            store.set_runner_id(one.task_id, known_id)


def _hand_over_first(
    runner: Runner,
    task: object,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    task_id: UUID,
    runner_id: str | None,
    owner: Owner,
) -> None:
    try:
        with owned_by(owner):
            known_id = runner.enqueue(task, args, kwargs, task_id=task_id, runner_id=runner_id)
    except BaseException as error:
        if has_begun(task_id):
            raise  # It is the task's own error: an eager mode has run it on the spot.
        store.delete_queued(task_id)
        raise enqueue_failed(runner, task, error) from error
    if known_id != runner_id:
        store.set_runner_id(task_id, known_id)


def has_begun(task_id: UUID) -> bool:
    rows = TaskState.objects.using(conf.settings().database).filter(pk=task_id)
    return rows.exclude(state=State.QUEUED.value).exists()


def enqueue_failed(runner: Runner, task: object, error: BaseException) -> EnqueueFailed:
    return EnqueueFailed(f"{runner.name} could not take {runner.name_of(task)}, so nothing was queued: {error!r}")


def _refuse_unstorable(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    for where, value in [*((f"argument {n}", v) for n, v in enumerate(args, 1)), *kwargs.items()]:
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"{where} of {name} is {value!r:.80}, which JSON can't hold ({error}): "
                "give something plain, such as a primary key, and look the rest up in the task."
            ) from error
