"""Every page answers, whatever the site says about time zones and the format of numbers."""

from typing import Any

import pytest
from django.test import Client

from telltale import store
from telltale.core.states import State
from telltale.messages import notify
from telltale.models import TaskState
from tests.factories import ended, person, started, task_of

pytestmark = pytest.mark.django_db

ADMIN = "/admin/telltale/taskstate/"
PAGES = [
    ("/telltale/tasks/", "Your tasks"),
    ("/telltale/tasks/{}/", "ran for 22 minutes"),
    ("/telltale/messages/", "Hello"),
    ("/telltale/self-test/", "Self-test"),
    (ADMIN, "Import airports"),
    (f"{ADMIN}{{}}/change/", "telltale-lanes"),  # Django shows a dash for a field that raises some errors.
    (f"{ADMIN}workers/", "Running tasks"),
    (f"{ADMIN}durations/", "telltale-plot"),
]


@pytest.fixture
def operator() -> Any:
    return person("operator", is_staff=True, is_superuser=True)


@pytest.fixture
def task(operator: Any) -> TaskState:
    """A task that failed, beside one that succeeded and one that runs."""
    task = task_of(operator)
    store.claim(task_id=task.pk, worker="host:1", now=task.created_at + 3)
    store.end(task.pk, 1, State.FAILED, error="No file", now=task.created_at + 1_300)
    ended(started(task_of(operator)))
    started(task_of(operator))
    notify(operator, "Hello")
    return task


@pytest.mark.parametrize(("setting", "value"), [("USE_TZ", False), ("USE_THOUSAND_SEPARATOR", True)])
@pytest.mark.parametrize(("path", "text"), PAGES)
def test_a_page_answers(
    setting: str, value: bool, path: str, text: str, operator: Any, task: TaskState, settings: Any
) -> None:
    setattr(settings, setting, value)
    client = Client()
    client.force_login(operator)
    answer = client.get(path.format(task.pk), headers={"Accept": "text/html"})
    assert answer.status_code == 200
    assert text in answer.content.decode()
