"""django-ninja: a task as a schema."""

from typing import Any, Self
from uuid import UUID

from django.http import HttpRequest
from ninja import Field, Schema

from telltale import store
from telltale.models import TaskState
from telltale.pages.responses import answer_json


class ProgressSchema(Schema):
    """How far a task is: docs/protocol.md has the keys."""

    fraction: float | None = Field(description="Of the whole task, 0 to 1.")
    current: float | None
    total: float | None
    unit: str
    message: str
    stage: str
    step: int
    steps: int | None
    borders: list[float] = []


class TaskSchema(Schema):
    """A task as `telltale.accepted` answers with it."""

    id: UUID
    attempt: int
    seq: int
    state: str
    ended: bool
    name: str
    label: str
    progress: ProgressSchema
    error: str | None
    reference: str | None
    result: str | None = Field(description="A link to the result.")
    has_return_value: bool
    return_value: Any = Field(None, description="For the task's owner only.")
    created_at: float = Field(description="Like all instants, in seconds since 1970.")
    started_at: float | None
    moved_at: float | None
    beat_at: float | None
    ended_at: float | None
    due_at: float | None
    ahead: int | None
    is_listening: bool | None
    missing_since: float | None
    remaining_s: float | None
    remaining_spread: float | None
    usual_s: list[float] | None
    cancel_requested: bool
    no_cancel: str | None
    health: str | None
    now: float
    url: str = Field(description="The task's own page.")
    can_cancel: bool
    can_retry: bool
    actions: list[str]

    @classmethod
    def of(cls, request: HttpRequest, task: TaskState) -> Self:
        """Return the task as it is now, for the user of the request. It is read again."""
        row = store.get_task(task.pk) or task
        return cls.model_validate(answer_json(request, row, now=store.now()))
