"""Django REST framework: the serializer answers as `telltale.accepted` does, the permission as Telltale's views."""

from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.http import HttpRequest
from django.urls import include, path
from rest_framework.authentication import SessionAuthentication
from rest_framework.decorators import action
from rest_framework.mixins import DestroyModelMixin, RetrieveModelMixin
from rest_framework.response import Response
from rest_framework.routers import SimpleRouter
from rest_framework.test import APIClient
from rest_framework.viewsets import GenericViewSet

import telltale
from telltale.api.rest_framework import ProgressSerializer, TaskPermission, TaskSerializer
from telltale.core.snapshot import Progress
from telltale.models import TaskState
from tests.api.answers import lost_worker, own_answer, with_return_value, without_time
from tests.factories import moved, person, started, task_of

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]


class Imports(RetrieveModelMixin, DestroyModelMixin, GenericViewSet):
    authentication_classes = [SessionAuthentication]
    permission_classes = [TaskPermission]
    queryset = TaskState.objects.all()
    serializer_class = TaskSerializer

    @action(detail=True, methods=["post"])
    def cancel(self, request: Any, pk: str) -> Any:
        telltale.cancel(self.get_object())
        return self.retrieve(request, pk)

    @action(detail=True, methods=["post"])
    def rename(self, request: Any, pk: str) -> Any:
        return Response(self.get_object().label)


router = SimpleRouter()
router.register("imports", Imports, basename="import")
urlpatterns = [path("", include(router.urls)), path("telltale/", include("telltale.urls"))]


def client_of(user: Any) -> APIClient:
    client = APIClient()
    client.force_login(user)
    return client


def test_a_task_is_serialized_as_telltales_own_view_answers() -> None:
    ada = person()
    task = task_of(ada)
    moved(started(task), 0.4, seq=1)
    client = client_of(ada)
    assert without_time(client.get(f"/imports/{task.pk}/").json()) == own_answer(client, task)


def test_its_owner_gets_what_a_task_returned_and_staff_do_not() -> None:
    ada, staff = person(), person("staff", is_staff=True)
    staff.user_permissions.add(Permission.objects.get(codename="view_taskstate"))
    task = with_return_value(task_of(ada), 7)
    assert client_of(ada).get(f"/imports/{task.pk}/").json()["return_value"] == 7
    assert "return_value" not in client_of(staff).get(f"/imports/{task.pk}/").json()


def test_a_task_whose_worker_is_lost_is_not_shown_as_running() -> None:
    ada = person()
    task = lost_worker(task_of(ada))
    assert client_of(ada).get(f"/imports/{task.pk}/").json()["state"] == "lost"


def test_the_fields_are_those_of_the_answer() -> None:
    ada = person()
    task = with_return_value(task_of(ada), 7)
    answer = client_of(ada).get(f"/imports/{task.pk}/").json()
    assert TaskSerializer().fields.keys() == answer.keys()
    assert ProgressSerializer().fields.keys() == {*Progress.__slots__}


def test_a_task_of_another_user_is_answered_as_one_that_does_not_exist() -> None:
    task = task_of(person())
    eve = client_of(person("eve"))
    for answer in (eve.get(f"/imports/{task.pk}/"), eve.post(f"/imports/{task.pk}/cancel/")):
        assert answer.status_code == 404
    task.refresh_from_db()
    assert not task.cancel_requested


def test_a_user_who_may_only_see_a_task_may_not_cancel_it(settings: Any) -> None:
    settings.TELLTALE = {**settings.TELLTALE, "CAN_FOLLOW": f"{__name__}.everybody_follows"}
    task, eve = task_of(person()), client_of(person("eve"))
    assert eve.get(f"/imports/{task.pk}/").json()["can_cancel"] is False
    assert eve.post(f"/imports/{task.pk}/cancel/").status_code == 403
    task.refresh_from_db()
    assert not task.cancel_requested


def everybody_follows(request: HttpRequest, topic: str) -> bool:
    return True


def test_an_owner_may_cancel_and_do_nothing_else_to_a_task() -> None:
    ada = person()
    task, client = task_of(ada), client_of(ada)
    assert client.post(f"/imports/{task.pk}/cancel/").json()["state"] == "cancelled"
    assert client.post(f"/imports/{task.pk}/rename/").status_code == 403
    assert client.delete(f"/imports/{task.pk}/").status_code == 403
    assert TaskState.objects.filter(pk=task.pk).exists()
