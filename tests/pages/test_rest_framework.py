"""Views of Django REST framework: the request wraps Django's, and the user of the framework's authentication counts."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.sessions.backends.db import SessionStore
from django.http import HttpRequest
from django.test import Client, RequestFactory
from django.urls import include, path
from rest_framework.authentication import BaseAuthentication
from rest_framework.renderers import TemplateHTMLRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSet

import telltale
from telltale.models import StoredNotice, TaskState
from telltale.owners import Owner, django_request, session_digest
from telltale.pages import permissions
from tests.app import thread_tasks
from tests.factories import person, task_of

ARGUMENTS = ("no-log", 1, 0.0)  # The task is not run: the transaction of the test is never committed.


class ByName(BaseAuthentication):
    """Authenticates `Authorization: Name ada` as Ada."""

    def authenticate(self, request: Any) -> Any:
        kind, _, name = request.headers.get("Authorization", "").partition(" ")
        return (get_user_model().objects.get(username=name), None) if kind == "Name" else None


class Imports(ViewSet):
    authentication_classes = [ByName]

    def create(self, request: Any) -> Any:
        return telltale.accepted(request, telltale.enqueue(thread_tasks.count, *ARGUMENTS, owner=request))

    def create_by_default(self, request: Any) -> Any:
        return telltale.accepted(request, telltale.enqueue(thread_tasks.count, *ARGUMENTS))

    def create_many(self, request: Any) -> Any:
        rows = telltale.enqueue_many(thread_tasks.count, [ARGUMENTS], owner=request)
        return telltale.accepted(request, rows[0])

    def create_tracked(self, request: Any) -> Any:
        with telltale.track("Import airports", owner=request):
            pass
        return telltale.accepted(request, TaskState.objects.get())


class ImportPage(APIView):
    authentication_classes = [ByName]
    renderer_classes = [TemplateHTMLRenderer]

    def get(self, request: Any) -> Any:
        response = Response({"task": TaskState.objects.get()})
        response.template_name = "page.html"
        return response


urlpatterns = [
    path("telltale/", include("telltale.urls")),
    path("owner/", Imports.as_view({"post": "create"})),
    path("present/", Imports.as_view({"post": "create_by_default"})),
    path("many/", Imports.as_view({"post": "create_many"})),
    path("track/", Imports.as_view({"post": "create_tracked"})),
    path("page/", ImportPage.as_view()),
]


@pytest.fixture(autouse=True)
def site(settings: Any) -> None:
    settings.ROOT_URLCONF = __name__


def wrapped(name: str = "", session: SessionStore | None = None, user: Any = None) -> Any:
    """Return a view's request before authentication has run."""
    request: Any = RequestFactory().get("/", headers={"Authorization": f"Name {name}"} if name else {})
    if session is not None:
        request.session = session
    if user is not None:
        request.user = user
    return Request(request, authenticators=[ByName()])


@pytest.mark.parametrize("url", ["/owner/", "/present/", "/many/"])
@pytest.mark.django_db
def test_a_task_belongs_to_the_user_that_the_api_authenticated(url: str) -> None:
    ada = person("ada")
    response = Client().post(url, headers={"Authorization": "Name ada", "Accept": "application/json"})
    row = TaskState.objects.get()
    assert (response.status_code, row.owner) == (202, ada)
    assert response.headers["Location"] == f"/telltale/tasks/{row.pk}/"
    assert response.json()["can_cancel"] is True
    assert not response.cookies, "a user authenticated with each request needs no session"


@pytest.mark.django_db(transaction=True)
def test_a_task_tracked_in_a_view_belongs_to_the_user_that_the_api_authenticated() -> None:
    ada = person("ada")
    response = Client().post("/track/", headers={"Authorization": "Name ada", "Accept": "application/json"})
    row = TaskState.objects.get()
    assert (response.status_code, row.state, row.owner) == (200, "succeeded", ada)


@pytest.mark.django_db
def test_a_template_rendered_by_the_api_knows_its_user(settings: Any, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("{% load telltale %}{% telltale task %}{% task_progress task %}")
    settings.TEMPLATES = [settings.TEMPLATES[0] | {"DIRS": [tmp_path]}]
    ada = person("ada")
    task = task_of(ada)
    page = Client().get("/page/", headers={"Authorization": "Name ada"}).content.decode()
    found = re.search(r'<script type="application/json" id="telltale-page">(.*?)</script>', page)
    assert found is not None
    assert json.loads(found[1])["topics"] == sorted({f"task:{task.pk}", f"user:{ada.pk}"})
    assert f"/telltale/tasks/{task.pk}/cancel/" in page


@pytest.mark.django_db
def test_the_wrappers_user_counts_not_the_cookies() -> None:
    ada, grace = person("ada"), person("grace")
    assert Owner.of(wrapped("ada", user=grace)) == Owner(user_id=ada.pk)


@pytest.mark.django_db
def test_an_anonymous_visitor_is_identified_by_the_session_of_djangos_request() -> None:
    session = SessionStore()
    owner = Owner.of(wrapped(session=session), create_session=True)
    assert session.session_key is not None
    assert owner == Owner(session=session_digest(session.session_key))
    assert Owner.of(wrapped()) == Owner()


@pytest.mark.django_db
def test_tickets_and_notices_are_for_the_wrappers_user() -> None:
    ada = person("ada")
    mine, theirs = task_of(ada), task_of(person("grace"))
    page = permissions.page_ticket(wrapped("ada"), [mine.pk, theirs.pk])
    assert page.topics == {f"user:{ada.pk}", f"task:{mine.pk}"}
    telltale.notify(wrapped("ada"), "Hello")
    assert StoredNotice.objects.get().topic == f"user:{ada.pk}"


def test_only_a_request_or_its_wrapper_is_accepted() -> None:
    request = HttpRequest()
    assert django_request(request) is request
    assert django_request(Request(request)) is request
    assert django_request(None) is django_request(object()) is None
    with pytest.raises(TypeError, match="can't own a task: pass a saved user"):
        Owner.of(object())
