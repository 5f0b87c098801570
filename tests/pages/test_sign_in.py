"""A sign-in: what the visitor started anonymously becomes theirs; after a sign-out nothing of theirs stays."""

import json
from typing import Any

import pytest
from django.contrib.auth import get_user_model, login, logout
from django.contrib.auth.signals import user_logged_in
from django.contrib.sessions.backends.db import SessionStore
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import include, path

import telltale
from telltale import store
from telltale.core.topics import session_topic, user_topic
from telltale.live.rights import session_digests
from telltale.models import StoredNotice, TaskState
from telltale.owners import NAME_IN_SESSION, Owner, session_digest
from telltale.pages import sign_out as sign_out_signals
from telltale.store.sign_in import HANDED_OVER
from tests.app import thread_tasks
from tests.factories import person, task_of

pytestmark = pytest.mark.django_db

ENGINES = ["db", "cache", "cached_db", "file", "signed_cookies"]


def start(request: HttpRequest) -> HttpResponseBase:
    # The task is not run: the transaction of the test is never committed.
    return telltale.accepted(request, telltale.enqueue(thread_tasks.count, "no-log", 1, 0.0))


def sign_in(request: HttpRequest, name: str) -> HttpResponse:
    login(request, get_user_model().objects.get(username=name))
    return HttpResponse()


def sign_out(request: HttpRequest) -> HttpResponse:
    logout(request)
    return HttpResponse()


urlpatterns = [
    path("telltale/", include("telltale.urls")),
    path("start/", start),
    path("sign-in/<str:name>/", sign_in),
    path("sign-out/", sign_out),
]


@pytest.fixture(autouse=True)
def site(settings: Any, tmp_path: Any) -> None:
    settings.ROOT_URLCONF = __name__
    settings.SESSION_FILE_PATH = str(tmp_path)


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, settings: Any) -> str:
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{request.param}"
    return str(request.param)


def started(browser: Client) -> str:
    """Start a task; return its address."""
    response = browser.post("/start/", headers={"Accept": "application/json"})
    assert response.status_code == 202
    return str(response.headers["Location"])


def listed(browser: Client) -> set[str]:
    return {task["url"] for task in browser.get("/telltale/tasks/").json()["tasks"]}


def status(browser: Client, url: str) -> int:
    return browser.get(url).status_code


def request_ticket(browser: Client, *topics: str) -> Any:
    return browser.post("/telltale/ticket/", json.dumps({"topics": topics}), "application/json")


@pytest.mark.usefixtures("engine")
def test_a_visitor_sees_what_they_started_before_and_after_the_sign_in_and_nothing_of_it_after_the_sign_out() -> None:
    ada, browser = person("ada"), Client()
    first, second = started(browser), started(browser)
    assert listed(browser) == {first, second}
    browser.get("/sign-in/ada/")
    third = started(browser)
    assert listed(browser) == {first, second, third}
    assert set(TaskState.objects.values_list("owner", flat=True)) == {ada.pk}
    assert [status(browser, url) for url in (first, second, third)] == [200] * 3
    browser.get("/sign-out/")
    fourth = started(browser)
    assert listed(browser) == {fourth}
    assert [status(browser, url) for url in (first, second, third, fourth)] == [404] * 3 + [200]


@pytest.mark.usefixtures("engine")
def test_two_anonymous_visitors_never_share_an_owner() -> None:
    browsers = [Client() for _ in range(5)]
    urls = [started(browser) for browser in browsers]
    assert len(set(TaskState.objects.values_list("session", flat=True))) == 5
    assert [listed(browser) for browser in browsers] == [{url} for url in urls]


@pytest.mark.usefixtures("engine")
def test_an_anonymous_visitor_keeps_their_tasks_when_the_secret_key_is_rotated(settings: Any) -> None:
    browser = Client()
    first = started(browser)
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "the next one", [settings.SECRET_KEY]
    second = started(browser)
    assert listed(browser) == {first, second}
    person("ada")
    browser.get("/sign-in/ada/")
    assert listed(browser) == {first, second}


def test_the_notices_that_wait_become_the_users(engine: str) -> None:
    ada, browser = person("ada"), Client()
    started(browser)
    session = TaskState.objects.get().session
    store.add_notice(session_topic(session), "Ready")
    browser.get("/sign-in/ada/")
    assert StoredNotice.objects.get().topic == user_topic(ada.pk)
    assert store.take_notice(StoredNotice.objects.get().pk, [user_topic(ada.pk)])


@pytest.mark.usefixtures("engine")
def test_a_sign_in_in_place_of_another_user_hands_nothing_over() -> None:
    ada, browser = person("ada"), Client()
    person("grace")
    browser.get("/sign-in/ada/")
    url = started(browser)
    session = browser.session
    session[NAME_IN_SESSION] = "a5e5"
    session.save()
    browser.cookies["sessionid"] = str(session.session_key)
    task_of(Owner(session="a5e5"))
    task_of(Owner(session=session_digest(str(session.session_key))))
    browser.get("/sign-in/grace/")
    assert listed(browser) == set()
    assert status(browser, url) == 404
    assert list(TaskState.objects.order_by("created_at").values_list("owner", flat=True)) == [ada.pk, None, None]


def announced_sessions(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The sessions whose connections web processes are told to close, from now on."""
    ended: list[list[str]] = []
    monkeypatch.setattr(sign_out_signals, "_announce", lambda kind, names: ended.append(names))
    return ended


@pytest.mark.usefixtures("engine")
def test_s09_a_sign_in_in_place_of_another_user_ends_that_session_and_other_sign_ins_end_none(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    person("ada"), person("grace")
    browser, ended = Client(), announced_sessions(monkeypatch)
    started(browser)
    for name in ("ada", "ada"):
        browser.get(f"/sign-in/{name}/")
    assert ended == []
    digests = session_digests(browser.session)
    browser.get("/sign-in/grace/")
    assert ended == ([digests] if digests else [])


def test_the_sign_in_of_a_token_leaves_the_session_what_it_owns() -> None:
    ada, browser = person("ada"), Client()
    url = started(browser)
    request: Any = RequestFactory().post("/")
    request.session = browser.session
    user_logged_in.send(sender=type(ada), request=request, user=ada)
    user_logged_in.send(sender=type(ada), request=None, user=ada)
    assert status(browser, url) == 200


def test_a_sign_in_with_nothing_to_hand_over_writes_no_task() -> None:
    person("ada")
    new, known = Client(), Client()
    session = known.session
    session["basket"] = [7]
    session.save()
    statements = []
    for browser in (new, known):
        with CaptureQueriesContext(connection) as captured:
            browser.get("/sign-in/ada/")
        statements.append([query["sql"][:6] for query in captured if "telltale_" in query["sql"]])
    assert statements == [[], ["SELECT", "SELECT", "SELECT"]]


def test_a_sign_in_hands_over_at_most_a_thousand_tasks_the_newest_in_a_bounded_number_of_statements(
    django_assert_max_num_queries: Any,
) -> None:
    ada = person("ada")
    same = {"runner": "test", "name": "work", "label": "Work", "session": "5e55"}
    TaskState.objects.bulk_create([TaskState(created_at=float(n), **same) for n in range(HANDED_OVER + 5)])
    with django_assert_max_num_queries(7):
        assert store.hand_over(["5e55"], ada.pk)
    left = TaskState.objects.filter(owner=None).values_list("created_at", flat=True)
    assert sorted(left) == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_a_database_that_fails_does_not_fail_the_sign_in_and_the_next_one_hands_over() -> None:
    person("ada")
    browser = Client()
    url = started(browser)
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TRIGGER no_update BEFORE UPDATE ON telltale_taskstate BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
        browser.get("/sign-in/ada/")
        cursor.execute("DROP TRIGGER no_update")
    assert listed(browser) == set()
    browser.get("/sign-in/ada/")
    assert listed(browser) == {url}


# Pages that were opened before


def test_a_page_from_before_the_sign_in_gets_a_ticket_for_the_users_topic() -> None:
    ada, browser = person("ada"), Client()
    started(browser)
    own = session_topic(TaskState.objects.get().session)
    assert request_ticket(browser, own).json()["topics"] == [own]
    browser.get("/sign-in/ada/")
    assert request_ticket(browser, own).json()["topics"] == [user_topic(ada.pk)]


def test_a_page_of_a_session_that_was_not_handed_over_gets_no_ticket_in_its_place() -> None:
    person("ada")
    other = task_of(Owner(session="5e55"))
    browser = Client()
    browser.get("/sign-in/ada/")
    assert request_ticket(browser, session_topic(other.session)).status_code == 404


def test_after_the_sign_out_no_ticket_renews_the_users_topics() -> None:
    ada, browser = person("ada"), Client()
    url = started(browser)
    former = session_topic(TaskState.objects.get().session)
    browser.get("/sign-in/ada/")
    browser.get("/sign-out/")
    task = f"task:{url.split('/')[-2]}"
    assert request_ticket(browser, former, user_topic(ada.pk), task).status_code == 404


def test_followers_of_the_session_see_its_tasks_until_their_ticket_runs_out_and_those_of_the_user_too() -> None:
    ada, browser = person("ada"), Client()
    started(browser)
    session = TaskState.objects.get().session
    browser.get("/sign-in/ada/")
    own = TaskState.objects.get()
    for topic in (session_topic(session), user_topic(ada.pk)):
        assert [envelope.about for envelope in store.read_topics([topic])] == [str(own.pk)]
    assert own.topics == (f"task:{own.pk}", user_topic(ada.pk), session_topic(session))


# Tasks from before sessions had a name


@pytest.fixture(params=["the same key", "a rotated key"])
def old_browser(request: pytest.FixtureRequest, settings: Any) -> tuple[Client, TaskState]:
    """A browser whose session owns a task by the digest of its key alone."""
    browser, session = Client(), SessionStore()
    session.create()
    task = task_of(Owner(session=session_digest(str(session.session_key))))
    browser.cookies["sessionid"] = str(session.session_key)
    if request.param == "a rotated key":
        settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "the next one", [settings.SECRET_KEY]
    return browser, task


def test_a_task_from_before_stays_readable_while_the_session_lives(old_browser: tuple[Client, TaskState]) -> None:
    browser, task = old_browser
    url = f"/telltale/tasks/{task.pk}/"
    for _ in range(2):
        assert status(browser, url) == 200
        assert url in listed(browser)
        assert request_ticket(browser, session_topic(task.session)).status_code == 200
        assert request_ticket(browser, f"task:{task.pk}").status_code == 200
        started(browser)
    assert len(listed(browser)) == 3


def test_a_task_from_before_becomes_the_users_at_sign_in(old_browser: tuple[Client, TaskState]) -> None:
    browser, task = old_browser
    ada = person("ada")
    browser.get("/sign-in/ada/")
    task.refresh_from_db()
    assert task.owner == ada
    assert status(browser, f"/telltale/tasks/{task.pk}/") == 200
