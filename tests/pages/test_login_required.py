"""Behind Django's LoginRequiredMiddleware: pages need a signed-in user, the requests of their scripts do not."""

import json
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.test import Client
from django.urls import reverse

from telltale import store, urls
from telltale.core.topics import task_topic, user_topic
from telltale.live import tickets
from telltale.owners import Owner, session_digest
from tests.factories import person, task_of

pytestmark = pytest.mark.django_db

PAGES = {"tasks", "task", "timeline", "cancel", "retry", "messages", "self_test"}
"""Authorized by the session cookie."""

FOR_SCRIPTS = {"live", "take_notice", "ticket", "page", "push_worker", "push_subscribe", "push_unsubscribe"}
"""The first two are authorized by a ticket; the next two give anonymous visitors tickets for what they may follow. The
service worker is the same for all, and the other two concern the visitor's own browser."""


@pytest.fixture(autouse=True)
def wall(settings: Any) -> None:
    after = settings.MIDDLEWARE.index("django.contrib.auth.middleware.AuthenticationMiddleware") + 1
    wall = "django.contrib.auth.middleware.LoginRequiredMiddleware"
    settings.MIDDLEWARE = [*settings.MIDDLEWARE[:after], wall, *settings.MIDDLEWARE[after:]]
    settings.LOGIN_URL = "/sign-in/"


def test_every_url_is_in_one_of_the_two_groups() -> None:
    assert {pattern.name for pattern in urls.urlpatterns} == PAGES | FOR_SCRIPTS
    assert not PAGES & FOR_SCRIPTS


@pytest.mark.parametrize("name", [str(pattern.name) for pattern in urls.urlpatterns])
@pytest.mark.parametrize("method", ["get", "post"])
def test_an_anonymous_visitor_is_redirected_to_the_login_from_pages_only(name: str, method: str) -> None:
    pattern = next(pattern for pattern in urls.urlpatterns if pattern.name == name)
    url = reverse(f"telltale:{name}", args=[uuid4() for _ in pattern.pattern.converters])
    response: Any = getattr(Client(), method)(url)
    is_redirected = response.status_code == 302 and response.headers["Location"].startswith("/sign-in/")
    assert is_redirected is (name in PAGES)


def test_a_page_stays_connected_by_its_ticket_without_a_cookie() -> None:
    ada = person()
    task, notice = task_of(ada), store.add_notice(user_topic(ada.pk), "Ready")
    bearer = {"Authorization": f"Bearer {tickets.issue([user_topic(ada.pk)])}"}
    polled = Client().post("/telltale/live/", "{}", "application/json", headers=bearer)
    assert [task_json["id"] for task_json in polled.json()["tasks"]] == [str(task.pk)]
    taken = Client().post(f"/telltale/notices/{notice.id}/take/", headers=bearer)
    assert taken.json() == {"granted": True}


def test_requests_without_a_ticket_are_refused() -> None:
    for url in ("/telltale/live/", f"/telltale/notices/{uuid4()}/take/"):
        response = Client().post(url)
        assert (response.status_code, response.json()["code"]) == (401, 4401)


def test_a_signed_out_visitor_gets_no_ticket_and_an_anonymous_one_gets_their_own() -> None:
    ada, session = person(), SessionStore()
    session.create()
    theirs, own = task_of(ada), task_of(Owner(session=session_digest(str(session.session_key))))
    client = Client()
    client.cookies["sessionid"] = str(session.session_key)
    refused = request_ticket(client, task_topic(theirs.pk))
    assert (refused.status_code, refused.headers["Content-Type"]) == (404, "application/json")
    assert request_ticket(client, task_topic(own.pk)).json()["topics"] == [task_topic(own.pk)]


def request_ticket(client: Client, topic: str) -> Any:
    return client.post("/telltale/ticket/", json.dumps({"topics": [topic]}), "application/json")


def test_a_signed_in_user_gets_the_pages() -> None:
    client, ada = Client(), person()
    client.force_login(ada)
    assert client.get("/telltale/tasks/", headers={"Accept": "text/html"}).status_code == 200
    assert client.get(f"/telltale/tasks/{task_of(ada).pk}/").status_code == 200
