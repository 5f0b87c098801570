"""What Telltale reads from Celery's tasks and messages: options and headers. Used by the other files about Celery."""

from typing import Any, Final

from celery import current_app

from telltale.dispatch.follow import options_by_name
from telltale.dispatch.runner import TaskOptions, options_of
from telltale.dispatch.task_header import HEADER, TaskHeader
from telltale.runners import celery_maps

NAME: Final = "celery"
"""The name of the runner."""


def options_of_task(task: Any) -> TaskOptions | None:
    """The options of a Celery task's function, also where Celery has wrapped it for `autoretry_for`."""
    return options_of(getattr(task, "_orig_run", None)) or options_of(getattr(task, "run", None))


def options_of_message(name: str, body: Any) -> TaskOptions | None:
    """The options of the task that a message calls; by its name if this process does not know the task."""
    _args, kwargs, *_embedded = body
    name = celery_maps.mapped_task(name, kwargs) or name
    task = current_app.tasks.get(name)
    return (options_of_task(task) if task is not None else None) or options_by_name(name)


def header_of(request: Any) -> TaskHeader | None:
    """The header of a request's message; None for a message without one."""
    return TaskHeader.from_json(getattr(request, HEADER, None) or (request.headers or {}).get(HEADER))
