"""A key joins calls of one owner; a shared task is joined by all visitors, who may follow it."""

import json
from typing import Any

import pytest
from django.contrib.auth import get_user_model, login
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.test import Client
from django.urls import include, path

import telltale
from telltale import store
from telltale.core.states import State
from telltale.models import TaskFollower, TaskState
from tests.app import thread_tasks
from tests.factories import person

pytestmark = pytest.mark.django_db


def start_own(request: HttpRequest) -> HttpResponseBase:
    # The task is not run: the transaction of the test is never committed.
    return telltale.accepted(request, telltale.enqueue(thread_tasks.build_own_report, 7))


def start_shared(request: HttpRequest) -> HttpResponseBase:
    return telltale.accepted(request, telltale.enqueue(thread_tasks.build_shared_report, 7))


def start_ownerless(request: HttpRequest) -> HttpResponseBase:
    return telltale.accepted(request, telltale.enqueue(thread_tasks.build_own_report, 7, owner=None))


def sign_in(request: HttpRequest, name: str) -> HttpResponse:
    login(request, get_user_model().objects.get(username=name))
    return HttpResponse()


urlpatterns = [
    path("telltale/", include("telltale.urls")),
    path("start-own/", start_own),
    path("start-shared/", start_shared),
    path("start-ownerless/", start_ownerless),
    path("sign-in/<str:name>/", sign_in),
]


@pytest.fixture(autouse=True)
def site(settings: Any) -> None:
    settings.ROOT_URLCONF = __name__


def visitor(name: str = "") -> Client:
    """A browser; signed in if there is a name."""
    client = Client(headers={"accept": "application/json"})
    if name:
        client.force_login(get_user_model().objects.filter(username=name).first() or person(name))
    return client


def started(client: Client, url: str) -> str:
    """Start a task at this URL; return the address of its page."""
    response = client.post(url, headers={"prefer": "respond-async"})
    assert response.status_code == 202
    return str(response.headers["Location"])


def page_of(client: Client, address: str) -> str:
    response = client.get(address, headers={"accept": "text/html"})
    return response.content.decode() if response.status_code == 200 else ""


def task_at(address: str) -> TaskState:
    return TaskState.objects.get(pk=address.split("/")[-2])


def test_a_key_joins_the_visitors_own_open_task_and_no_other_visitors() -> None:
    visitors = [visitor("ada"), visitor("grace"), visitor(), visitor()]
    first = [started(client, "/start-own/") for client in visitors]
    again = [started(client, "/start-own/") for client in visitors]
    assert first == again
    assert len(set(first)) == 4
    assert [client.get(first[0]).status_code for client in visitors] == [200, 404, 404, 404]


def test_tasks_without_an_owner_are_joined_by_all_and_never_by_the_key_of_an_owners_task() -> None:
    ada = visitor("ada")
    ownerless = {started(ada, "/start-ownerless/"), started(visitor(), "/start-ownerless/")}
    assert len(ownerless) == 1
    assert started(ada, "/start-own/") not in ownerless


def test_a_visitor_who_joins_a_shared_task_may_follow_it_also_after_a_reload() -> None:
    ada, grace, anonymous = visitor("ada"), visitor("grace"), visitor()
    address = started(ada, "/start-shared/")
    topic = f"task:{task_at(address).pk}"
    assert [client.get(address).status_code for client in (grace, anonymous)] == [404, 404]
    for client in (grace, anonymous):
        assert started(client, "/start-shared/") == address
        assert [client.get(address).status_code for _reload in range(2)] == [200, 200]
        granted = client.post("/telltale/ticket/", {"topics": [topic]}, "application/json")
        assert granted.json()["topics"] == [topic]
    assert visitor().get(address).status_code == 404


def test_cancelling_and_retrying_a_shared_task_stay_its_owners() -> None:
    ada, grace = visitor("ada"), visitor("grace")
    address = started(ada, "/start-shared/")
    started(grace, "/start-shared/")
    assert [grace.get(address).json()[name] for name in ("can_cancel", "can_retry")] == [False, False]
    assert grace.post(f"{address}cancel/").status_code == 404
    store.end(task_at(address).pk, 1, State.FAILED)
    assert grace.post(f"{address}retry/").status_code == 404
    assert ada.post(f"{address}retry/").status_code == 202
    assert started(grace, "/start-shared/") == address
    assert ada.post(f"{address}cancel/").status_code == 200


def test_the_page_of_a_shared_task_says_that_someone_else_started_it_to_all_but_its_owner() -> None:
    ada, grace = visitor("ada"), visitor("grace")
    address = started(ada, "/start-shared/")
    started(grace, "/start-shared/")
    assert "Started by someone else" in page_of(grace, address)
    assert "<form" not in page_of(grace, address)
    assert "Started by someone else" not in page_of(ada, address)


def test_what_a_shared_task_returned_is_not_told_to_visitors_who_joined_it() -> None:
    ada, grace = visitor("ada"), visitor("grace")
    address = started(ada, "/start-shared/")
    started(grace, "/start-shared/")
    TaskState.objects.filter(pk=task_at(address).pk).update(return_json=json.dumps("secret"))
    assert ada.get(address).json()["return_value"] == "secret"
    assert "return_value" not in grace.get(address).json()


def test_a_sign_in_hands_over_the_key_with_the_task() -> None:
    person("ada")
    browser = visitor()
    address = started(browser, "/start-own/")
    browser.get("/sign-in/ada/")
    assert started(browser, "/start-own/") == address
    assert started(visitor("ada"), "/start-own/") == address
    assert started(visitor(), "/start-own/") != address


def test_a_sign_in_of_a_user_with_the_same_key_open_hands_the_task_over_without_its_key() -> None:
    users = visitor("ada")
    of_user = started(users, "/start-own/")
    browser = visitor()
    of_session = started(browser, "/start-own/")
    browser.get("/sign-in/ada/")
    assert started(browser, "/start-own/") == of_user
    assert browser.get(of_session).json()["state"] == "queued"
    assert task_at(of_session).key is None


def test_a_sign_in_hands_over_what_the_visitor_has_joined() -> None:
    person("grace")
    address = started(visitor("ada"), "/start-shared/")
    browser = visitor()
    started(browser, "/start-shared/")
    browser.get("/sign-in/grace/")
    assert browser.get(address).status_code == 200
    assert visitor("grace").get(address).status_code == 200
    assert TaskFollower.objects.count() == 1
