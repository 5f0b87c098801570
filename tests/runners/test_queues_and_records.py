"""What runners know of a task for staff: its queue, which its row keeps, and their own record, to which the admin
links.

Against the real libraries, without their services: no worker runs here.
"""

import html
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import django_q.tasks
import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django_celery_results.models import TaskResult
from django_dramatiq.models import Task as StoredMessage
from django_q.models import Task as StoredTask
from django_tasks_db.models import DBTaskResult

import telltale
from telltale import store
from telltale.dispatch import registry
from telltale.dispatch.runner import KeepsRecords, KnowsQueue
from telltale.models import TaskState
from tests.app import celery_tasks, django_tasks, dramatiq_tasks, huey_tasks, q_tasks, rq_tasks
from tests.factories import person

pytestmark = pytest.mark.django_db(transaction=True)

ARGS = ("log", 1, 0.0)


@pytest.mark.parametrize(
    ("runner", "task", "queue"),
    [
        ("celery", celery_tasks.count, "celery"),
        ("rq", rq_tasks.count, "default"),
        ("dramatiq", dramatiq_tasks.count, "default"),
        ("huey", huey_tasks.count, "tests"),
        ("django_q", q_tasks.count, "tests"),
        ("django_tasks", django_tasks.count, "default"),
        ("django_tasks", django_tasks.count.using(queue_name="reports"), "reports"),
    ],
)
def test_a_runner_with_queues_knows_that_of_a_task_without_asking_a_service(runner: str, task: Any, queue: str) -> None:
    knows = registry.by_name(runner)
    assert isinstance(knows, KnowsQueue)
    assert knows.queue_of(task) == queue


@pytest.mark.parametrize(
    ("enqueue", "queue"),
    [
        (lambda: telltale.enqueue(django_tasks.count.using(queue_name="reports"), *ARGS), "reports"),
        (lambda: telltale.enqueue_many(django_tasks.count.using(queue_name="reports"), [ARGS]), "reports"),
        (lambda: django_tasks.count.using(queue_name="reports").enqueue(*ARGS), "reports"),
        (lambda: huey_tasks.count(*ARGS), "tests"),
        (lambda: django_q.tasks.async_task("tests.app.q_tasks.count", *ARGS), "tests"),
    ],
    ids=["telltale.enqueue", "telltale.enqueue_many", "django_tasks", "huey", "django_q"],
)
def test_the_row_keeps_the_queue_of_its_task_without_a_further_write(enqueue: Callable[[], Any], queue: str) -> None:
    with CaptureQueriesContext(connection) as statements:
        enqueue()
    assert TaskState.objects.get().queue == queue
    written = [each["sql"] for each in statements if "telltale_taskstate" in each["sql"]]
    assert not [sql for sql in written if sql.startswith("UPDATE") and "queue" in sql.partition(" WHERE ")[0]]


# The runners' own records


def celery_record(runner_id: str) -> str:
    result = TaskResult.objects.create(task_id=runner_id, status="SUCCESS")
    return f"/admin/django_celery_results/taskresult/{result.pk}/change/"


def django_tasks_record(runner_id: str) -> str:
    django_tasks.count.enqueue(*ARGS)
    DBTaskResult.objects.update(id=runner_id)
    return f"/admin/django_tasks_database/dbtaskresult/{runner_id}/change/"


def dramatiq_record(runner_id: str) -> str:
    StoredMessage.tasks.create(id=runner_id, message_data=dramatiq_tasks.count.message(*ARGS).encode())
    return f"/admin/django_dramatiq/task/{runner_id}/change/"


def django_q_record(runner_id: str, success: bool = True) -> str:
    values = {"name": "n", "func": "f", "started": "2026-01-01T00:00Z", "stopped": "2026-01-01T00:00Z"}
    StoredTask.objects.create(id=runner_id, success=success, **values)
    return f"/admin/django_q/{'success' if success else 'failure'}/{runner_id}/change/"


def failed_django_q_record(runner_id: str) -> str:
    return django_q_record(runner_id, success=False)


def rq_record(runner_id: str) -> str:
    return f"/admin/django_rq/dashboard/queues/0/{runner_id}/"


def task_with(runner: str, runner_id: str) -> TaskState:
    return store.queue(
        runner=runner, runner_id=runner_id, name="tests.app.nothing", label="Work", queue_name="default"
    ).task


def story_of(client: Client, task: TaskState) -> str:
    response = client.get(f"/admin/telltale/taskstate/{task.pk}/change/")
    assert response.status_code == 200
    return html.unescape(response.content.decode())


@pytest.mark.parametrize(
    ("runner", "create"),
    [
        ("celery", celery_record),
        ("django_tasks", django_tasks_record),
        ("dramatiq", dramatiq_record),
        ("django_q", django_q_record),
        ("django_q", failed_django_q_record),
        ("rq", rq_record),
    ],
)
def test_the_admin_links_to_the_runners_own_record(runner: str, create: Callable[[str], str]) -> None:
    runner_id = uuid4().hex if runner == "django_q" else str(uuid4())
    client = Client()
    client.force_login(person("root", is_staff=True, is_superuser=True))
    task = task_with(runner, runner_id)
    address = create(runner_id)
    assert f'href="{address}"' in story_of(client, task)
    if runner != "rq":  # Its page asks Redis.
        assert client.get(address).status_code == 200


def test_the_link_is_for_those_who_may_see_the_record() -> None:
    staff = person("staff", is_staff=True)
    staff.user_permissions.add(Permission.objects.get(codename="view_taskstate"))
    client = Client()
    client.force_login(staff)
    task = task_with("celery", "c1")
    address = celery_record("c1")
    assert address not in story_of(client, task)
    staff.user_permissions.add(Permission.objects.get(codename="view_taskresult"))
    assert address in story_of(client, task)


@pytest.mark.parametrize("runner", ["celery", "django_tasks", "dramatiq", "django_q"])
@pytest.mark.parametrize("runner_id", ["no id of this runner", "5c8f0b7e-0000-4000-8000-000000000000"])
def test_a_runner_without_a_record_says_so_after_one_query(runner: str, runner_id: str) -> None:
    keeps = registry.by_name(runner)
    assert isinstance(keeps, KeepsRecords)
    with CaptureQueriesContext(connection) as statements:
        assert keeps.record(runner_id, "default") is None
    assert len([each for each in statements if each["sql"].startswith("SELECT")]) <= (2 if runner == "django_q" else 1)
