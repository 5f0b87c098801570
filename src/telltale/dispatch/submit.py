"""Give queued rows to their runner. Called after the transaction that wrote the rows has committed.

If the runner can't take a task, its row must not stay queued: `undo` takes it back. `enqueue` deletes the row;
`control.retry` ends it as failed.
"""

from collections.abc import Callable, Sequence
from uuid import UUID

from telltale import store
from telltale.core.states import State
from telltale.dispatch.runner import EnqueueFailed, EnqueuesMany, PendingCall, Runner
from telltale.owners import Owner, owned_by


def submit(
    runner: Runner, task: object, call: PendingCall, *, owner: Owner, undo: Callable[[UUID, BaseException], None]
) -> None:
    """Have the runner enqueue the call. If it can't, call `undo(task_id, error)` and raise `EnqueueFailed`."""
    try:
        with owned_by(owner):
            runner_id = runner.enqueue(task, call.args, call.kwargs, task_id=call.task_id, runner_id=call.runner_id)
    except BaseException as error:
        if _has_begun(call.task_id):
            raise  # The error is the task's own: an eager mode has run it within `enqueue`.
        undo(call.task_id, error)
        raise _enqueue_failed(runner, task, error) from error
    if runner_id != call.runner_id:
        store.set_runner_id(call.task_id, runner_id)


def submit_many(
    runner: Runner,
    task: object,
    calls: Sequence[PendingCall],
    *,
    owner: Owner,
    undo: Callable[[UUID, BaseException], None],
) -> None:
    """As `submit` for each call: all at once if the runner can, else one by one until one fails."""
    if isinstance(runner, EnqueuesMany):
        _submit_all_at_once(runner, task, calls, owner, undo)
        return
    for position, call in enumerate(calls):
        try:
            submit(runner, task, call, owner=owner, undo=undo)
        except EnqueueFailed as error:
            for later_call in calls[position + 1 :]:
                undo(later_call.task_id, error)
            raise


def _submit_all_at_once(
    runner: Runner,
    task: object,
    calls: Sequence[PendingCall],
    owner: Owner,
    undo: Callable[[UUID, BaseException], None],
) -> None:
    assert isinstance(runner, EnqueuesMany)  # noqa: S101 (narrows the type)
    try:
        with owned_by(owner):
            runner_ids = runner.enqueue_many(task, calls)
    except BaseException as error:
        for call in calls:
            undo(call.task_id, error)
        raise _enqueue_failed(runner, task, error) from error
    for call, runner_id in zip(calls, runner_ids, strict=True):
        if runner_id != call.runner_id:
            store.set_runner_id(call.task_id, runner_id)


def _has_begun(task_id: UUID) -> bool:
    return store.task_rows().filter(pk=task_id).exclude(state=State.QUEUED.value).exists()


def _enqueue_failed(runner: Runner, task: object, error: BaseException) -> EnqueueFailed:
    return EnqueueFailed(f"{runner.name} could not take {runner.name_of(task)}, so nothing was queued: {error!r}")
