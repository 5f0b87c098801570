"""Tasks for the tests of APIs, and the answer of Telltale's own view to compare with."""

import json
from typing import Any

from telltale import store
from telltale.core.states import State
from telltale.models import TaskState
from tests.factories import ended, started


def with_return_value(task: TaskState, value: Any) -> TaskState:
    """Let the task end with this value."""
    ended(started(task), State.SUCCEEDED, return_json=json.dumps(value))
    return task


def lost_worker(task: TaskState) -> TaskState:
    """Let the lease of the running task expire."""
    started(task)
    now = store.now()
    TaskState.objects.filter(pk=task.pk).update(beat_at=now - 600, lease_until=now - 500)
    return task


def without_time(answer: dict[str, Any]) -> dict[str, Any]:
    """Return a task's JSON without the server's clock."""
    return {key: value for key, value in answer.items() if key != "now"}


def own_answer(client: Any, task: TaskState) -> dict[str, Any]:
    """Return the JSON of Telltale's own view."""
    return without_time(client.get(f"/telltale/tasks/{task.pk}/", headers={"Accept": "application/json"}).json())
