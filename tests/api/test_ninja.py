"""django-ninja: the schema answers as `telltale.accepted` does, `task_or_404` has the rules of Telltale's views."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from django.http import HttpRequest
from django.test import Client
from django.urls import include, path
from ninja import NinjaAPI

import telltale
from telltale.api.ninja import ProgressSchema, TaskSchema
from telltale.api.tasks import task_or_404
from telltale.core.snapshot import Progress
from telltale.models import TaskState
from tests.api.answers import lost_worker, own_answer, with_return_value, without_time
from tests.app import thread_tasks
from tests.factories import moved, person, started, task_of

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]

api = NinjaAPI(urls_namespace="tests-of-the-schema")


@api.post("/imports", response={202: TaskSchema})
def start(request: HttpRequest) -> Any:
    return telltale.accepted(request, telltale.enqueue(thread_tasks.count, "no-log", 1, 0.0))


@api.get("/imports/{task_id}", response=TaskSchema)
def show(request: HttpRequest, task_id: UUID) -> Any:
    return TaskSchema.of(request, task_or_404(request, task_id))


@api.post("/imports/{task_id}/cancel", response=TaskSchema)
def cancel(request: HttpRequest, task_id: UUID) -> Any:
    task = task_or_404(request, task_id, action="cancel")
    telltale.cancel(task)
    return TaskSchema.of(request, task)


urlpatterns = [path("", api.urls), path("telltale/", include("telltale.urls"))]


def client_of(user: Any) -> Client:
    client = Client()
    client.force_login(user)
    return client


def test_a_task_is_shown_as_telltales_own_view_answers() -> None:
    ada = person()
    task = task_of(ada)
    moved(started(task), 0.4, seq=1)
    client = client_of(ada)
    answer = without_time(client.get(f"/imports/{task.pk}").json())
    assert answer.pop("return_value") is None
    assert answer.pop("progress").items() >= own_answer(client, task)["progress"].items()
    assert answer == {key: value for key, value in own_answer(client, task).items() if key != "progress"}


def test_its_owner_gets_what_a_task_returned() -> None:
    ada = person()
    task = with_return_value(task_of(ada), {"rows": 7})
    assert client_of(ada).get(f"/imports/{task.pk}").json()["return_value"] == {"rows": 7}


def test_a_task_whose_worker_is_lost_is_not_shown_as_running() -> None:
    ada = person()
    task = lost_worker(task_of(ada))
    assert client_of(ada).get(f"/imports/{task.pk}").json()["state"] == "lost"


def test_the_fields_are_those_of_the_answer() -> None:
    ada = person()
    client, task = client_of(ada), with_return_value(task_of(ada), 7)
    assert TaskSchema.model_fields.keys() == {"now", *own_answer(client, task)}
    assert ProgressSchema.model_fields.keys() == {*Progress.__slots__}


def test_the_apis_own_schema_has_the_task_as_the_answer_of_an_accepted_task() -> None:
    schema = api.get_openapi_schema()
    answers = schema["paths"]["/imports"]["post"]["responses"]
    assert answers[202]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/TaskSchema"}
    answer = client_of(person()).post("/imports", headers={"Accept": "application/json"})
    assert answer.status_code == 202
    TaskSchema.model_validate(answer.json())


def test_a_task_of_another_user_is_answered_as_one_that_does_not_exist() -> None:
    task, eve = task_of(person()), client_of(person("eve"))
    answers = [eve.get(f"/imports/{pk}") for pk in (task.pk, uuid4())] + [eve.post(f"/imports/{task.pk}/cancel")]
    assert [answer.status_code for answer in answers] == [404] * 3
    assert len({answer.content for answer in answers}) == 1
    assert not TaskState.objects.get().cancel_requested


def test_a_user_who_may_only_see_a_task_may_not_cancel_it(settings: Any) -> None:
    settings.TELLTALE = {**settings.TELLTALE, "CAN_FOLLOW": f"{__name__}.everybody_follows"}
    task, eve = task_of(person()), client_of(person("eve"))
    assert eve.get(f"/imports/{task.pk}").json()["can_cancel"] is False
    assert eve.post(f"/imports/{task.pk}/cancel").status_code == 403
    assert not TaskState.objects.get().cancel_requested


def everybody_follows(request: HttpRequest, topic: str) -> bool:
    return True


def test_its_owner_may_cancel_it() -> None:
    ada = person()
    task = task_of(ada)
    assert client_of(ada).post(f"/imports/{task.pk}/cancel").json()["state"] == "cancelled"
