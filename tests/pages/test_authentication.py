"""`TELLTALE["AUTHENTICATION"]`: a program with a token follows what it started, in each of Telltale's views."""

import base64
import json
from typing import Any

import pytest
from django.contrib.auth import authenticate, get_user_model
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.test import Client, RequestFactory
from django.urls import include, path
from django.views.decorators.csrf import csrf_exempt
from ninja import NinjaAPI
from ninja.errors import AuthenticationError
from ninja.security import APIKeyCookie, HttpBearer
from ninja.utils import check_csrf
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed

import telltale
from telltale import checks, store
from telltale.core.topics import task_topic, user_topic
from telltale.live import tickets
from telltale.models import TaskState
from telltale.owners import Owner
from tests.app import thread_tasks
from tests.factories import ended, person, started, task_of

pytestmark = pytest.mark.django_db

JSON = {"Accept": "application/json"}


class RestToken(BaseAuthentication):
    """Django REST framework: `Authorization: Token ada`."""

    def authenticate(self, request: Any) -> Any:
        kind, _, name = request.headers.get("Authorization", "").partition(" ")
        if kind != "Token":
            return None
        user = user_named(name)
        if user is None:
            raise AuthenticationFailed("Invalid token.")
        return user, name

    def authenticate_header(self, request: Any) -> str:
        return "Token"


class NinjaToken(HttpBearer):
    """django-ninja: `Authorization: Bearer ada`."""

    def authenticate(self, request: HttpRequest, token: str) -> Any:
        return user_named(token)


class AsyncNinjaToken(HttpBearer):
    async def authenticate(self, request: HttpRequest, token: str) -> Any:
        return await get_user_model().objects.filter(username=token).afirst()


class NinjaPayload(HttpBearer):
    """As django-ninja's users often do: it returns the token's content, and sets the request's user."""

    def authenticate(self, request: HttpRequest, token: str) -> Any:
        user = user_named(token)
        if user is None:
            raise AuthenticationError
        request.user = user
        return {"sub": user.pk}


class CookieToken(APIKeyCookie):
    """A token in a cookie, which browsers send by themselves."""

    param_name = "token"

    def authenticate(self, request: HttpRequest, key: str | None) -> Any:
        return user_named(key or "")


def by_api_key(request: HttpRequest) -> Any:
    """A function: `X-API-Key: ada`."""
    key = request.headers.get("X-API-Key", "")
    if key == "blocked":
        raise PermissionDenied
    return user_named(key)


def by_password(request: HttpRequest) -> Any:
    """A function: HTTP Basic, which browsers send by themselves."""
    kind, _, encoded = request.headers.get("Authorization", "").partition(" ")
    if kind != "Basic":
        return None
    name, _, password = base64.b64decode(encoded).decode().partition(":")
    return authenticate(request, username=name, password=password)


def checks_csrf_without_cookies(request: HttpRequest) -> None:
    """An authenticator that checks the token where there is nothing to protect, and never finds anybody."""
    if not request.COOKIES:
        check_csrf(request)


def wrong(request: HttpRequest) -> Any:
    return "ada"


shared_instance = NinjaToken()

BASIC = {"Authorization": "Basic " + base64.b64encode(b"ada:x").decode()}
KINDS: dict[str, dict[str, str]] = {
    "RestToken": {"Authorization": "Token ada"},
    "NinjaToken": {"Authorization": "Bearer ada"},
    "shared_instance": {"Authorization": "Bearer ada"},
    "AsyncNinjaToken": {"Authorization": "Bearer ada"},
    "NinjaPayload": {"Authorization": "Bearer ada"},
    "by_api_key": {"X-API-Key": "ada"},
    "by_password": BASIC,
}


def user_named(name: str) -> Any:
    return get_user_model().objects.filter(username=name).first()


@csrf_exempt
def start(request: HttpRequest) -> HttpResponseBase:
    return telltale.accepted(request, telltale.enqueue(thread_tasks.count, "no-log", 1, 0.0))


api = NinjaAPI(auth=NinjaToken(), urls_namespace="test-authentication")


@api.post("/start")
def ninja_start(request: HttpRequest) -> HttpResponseBase:
    return start(request)


def ask_hook(request: HttpRequest, topic: str) -> bool:
    return topic == f"project:{request.user}"


urlpatterns = [
    path("telltale/", include("telltale.urls")),
    path("start/", start),
    path("api/", api.urls),
]


@pytest.fixture(autouse=True)
def site(settings: Any) -> None:
    settings.ROOT_URLCONF = __name__


def use(settings: Any, *names: str, **more: Any) -> None:
    paths = [name if "." in name else f"{__name__}.{name}" for name in names]
    settings.TELLTALE = settings.TELLTALE | {"AUTHENTICATION": paths} | more


class Program(Client):
    """A client with a token and no cookies, whose requests are checked as in production."""

    def __init__(self, headers: dict[str, str]) -> None:
        super().__init__(enforce_csrf_checks=True)
        self.token = headers

    def call(self, method: str, url: str, data: Any = None, **headers: str) -> Any:
        body = {"data": json.dumps(data or {}), "content_type": "application/json"} if method == "post" else {}
        response = getattr(self, method)(url, **body, headers=JSON | self.token | headers)
        assert not self.cookies, "a program with a token gets no cookie"
        return response


@pytest.fixture(params=KINDS)
def program(request: pytest.FixtureRequest, settings: Any) -> Program:
    use(settings, request.param)
    return Program(KINDS[request.param])


def test_a_program_follows_what_it_started_to_its_end_with_its_token_alone(program: Program) -> None:
    ada = person("ada")
    location = program.call("post", "/start/").headers["Location"]
    task = TaskState.objects.get()
    assert task.owner == ada
    assert program.call("get", location).json()["can_cancel"] is True
    assert [row["url"] for row in program.call("get", "/telltale/tasks/").json()["tasks"]] == [location]
    granted = program.call("post", "/telltale/ticket/", {"topics": [task_topic(task.pk), user_topic(ada.pk)]}).json()
    assert len(granted["topics"]) == 2
    polled = Client().post("/telltale/live/", "{}", "application/json", headers=bearer(granted["ticket"]))
    assert [row["id"] for row in polled.json()["tasks"]] == [str(task.pk)]
    assert program.call("post", f"{location}cancel/").json()["state"] == "cancelled"
    assert program.call("post", f"{location}retry/").json()["attempt"] == 2
    ended(started(task))
    assert program.call("get", location).json()["state"] == "succeeded"


def bearer(ticket: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {ticket}"}


def test_a_program_sees_nothing_of_another_user(program: Program) -> None:
    person("ada")
    task = task_of(person("grace"))
    url = f"/telltale/tasks/{task.pk}/"
    assert program.call("get", url).status_code == 404
    assert program.call("post", f"{url}cancel/").status_code == 404
    assert program.call("post", "/telltale/ticket/", {"topics": [task_topic(task.pk)]}).status_code == 404
    assert program.call("get", "/telltale/tasks/").json()["tasks"] == []


def test_a_program_passes_the_login_wall(program: Program, settings: Any) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.contrib.auth.middleware.LoginRequiredMiddleware"]
    task = task_of(person("ada"))
    assert program.call("get", f"/telltale/tasks/{task.pk}/").status_code == 200
    assert program.call("post", f"/telltale/tasks/{task.pk}/cancel/").status_code == 200
    stranger = Program({})
    response = stranger.call("get", f"/telltale/tasks/{task.pk}/")
    assert (response.status_code, "WWW-Authenticate" in response.headers) == (401, True)
    browser = Client().get(f"/telltale/tasks/{task.pk}/", headers={"Accept": "text/html"})
    assert (browser.status_code, browser.headers["Location"].startswith("/accounts/login/")) == (302, True)


def test_ninjas_own_views_start_tasks_of_their_user(settings: Any) -> None:
    use(settings, "NinjaToken")
    ada = person("ada")
    response = Program(KINDS["NinjaToken"]).call("post", "/api/start")
    assert (response.status_code, TaskState.objects.get().owner) == (202, ada)


def test_tickets_ask_the_sites_hook_with_the_user_of_the_token(settings: Any) -> None:
    use(settings, "RestToken", CAN_FOLLOW=f"{__name__}.ask_hook")
    person("ada")
    granted = Program(KINDS["RestToken"]).call("post", "/telltale/ticket/", {"topics": ["project:ada", "project:bob"]})
    assert granted.json()["topics"] == ["project:ada"]


def test_ticket_for_is_public_and_gives_what_the_view_gives(settings: Any) -> None:
    use(settings, "RestToken")
    ada = person("ada")
    own, other = task_of(ada), task_of(person("grace"))
    request = RequestFactory().post("/", headers=KINDS["RestToken"])
    ticket = telltale.ticket_for(request, [task_topic(own.pk), task_topic(other.pk)])
    grant = tickets.verify(ticket.ticket)
    assert (grant.topics, grant.follower) == ({task_topic(own.pk)}, user_topic(ada.pk))
    assert ticket.to_json() == {
        "ticket": ticket.ticket,
        "topics": [task_topic(own.pk)],
        "expires_at": grant.expires_at,
    }


# Refusals


@pytest.mark.parametrize(
    ("name", "headers", "status", "challenge"),
    [
        ("RestToken", {"Authorization": "Token nobody"}, 401, "Token"),
        ("NinjaToken", {"Authorization": "Bearer nobody"}, 401, "Bearer"),
        ("NinjaPayload", {"Authorization": "Bearer nobody"}, 401, "Bearer"),
        ("by_api_key", {"X-API-Key": "blocked"}, 403, None),
    ],
)
@pytest.mark.parametrize("action", ["get", "post"])
def test_invalid_credentials_are_refused_with_a_challenge(
    settings: Any, name: str, headers: dict[str, str], status: int, challenge: str | None, action: str
) -> None:
    use(settings, name)
    task = task_of(person("ada"))
    url = f"/telltale/tasks/{task.pk}/" + ("cancel/" if action == "post" else "")
    response = Program(headers).call(action, url)
    assert (response.status_code, response.headers.get("WWW-Authenticate")) == (status, challenge)
    assert response.json()["error"]


def test_credentials_of_another_kind_are_none(settings: Any) -> None:
    use(settings, "RestToken")
    assert Program({"Authorization": "Basic eDp5"}).call("get", "/telltale/tasks/").json()["tasks"] == []


def test_a_view_of_the_site_takes_invalid_credentials_for_none(settings: Any) -> None:
    use(settings, "RestToken")
    assert Owner.of(RequestFactory().get("/", headers={"Authorization": "Token nobody"})) == Owner()


def test_what_returns_no_user_is_a_mistake_that_names_the_mend(settings: Any) -> None:
    use(settings, "wrong")
    with pytest.raises(ImproperlyConfigured, match=r"test_authentication\.wrong returned 'ada', which is no user"):
        Program({}).call("get", "/telltale/tasks/")


@pytest.mark.parametrize("entry", ["shop.nothing", f"{__name__}.BASIC", "RestToken"])
def test_the_check_names_an_entry_that_cannot_be_used(settings: Any, entry: str) -> None:
    settings.TELLTALE = settings.TELLTALE | {"AUTHENTICATION": [entry]}
    (error,) = checks.check_settings()
    assert (error.id, repr(entry) in error.msg) == ("telltale.E013", True)


# Cookies and the CSRF token


@pytest.fixture
def browser(settings: Any) -> Client:
    """A browser that is signed in by its session; tokens work too."""
    use(settings, "RestToken", "by_api_key", "CookieToken", "by_password")
    client = Client(enforce_csrf_checks=True)
    client.force_login(person("ada"))
    return client


def test_where_the_session_says_who_asks_the_csrf_token_is_required(browser: Client) -> None:
    task = task_of(user_named("ada"))
    url = f"/telltale/tasks/{task.pk}/"
    assert browser.post(f"{url}cancel/").status_code == 403
    assert browser.post("/telltale/ticket/", "{}", "application/json").status_code == 403
    browser.get(url, headers={"Accept": "text/html"})
    token = {"X-CSRFToken": browser.cookies["csrftoken"].value} | JSON
    assert browser.post(f"{url}cancel/", headers=token).json()["state"] == "cancelled"


def test_a_check_without_cookies_does_not_count_for_the_session(browser: Client, settings: Any) -> None:
    use(settings, "checks_csrf_without_cookies")
    task = task_of(user_named("ada"))
    assert browser.post(f"/telltale/tasks/{task.pk}/cancel/").status_code == 403


def test_where_a_cookie_holds_the_token_the_csrf_token_is_required(browser: Client) -> None:
    client = Client(enforce_csrf_checks=True)
    client.cookies["token"] = "ada"
    task = task_of(user_named("ada"))
    url = f"/telltale/tasks/{task.pk}/"
    assert client.get(url).json()["can_cancel"] is True
    assert client.post(f"{url}cancel/").status_code == 403
    assert store.get_task(task.pk).state == "queued"  # type: ignore[union-attr]
    client.get(url, headers={"Accept": "text/html"})
    token = {"X-CSRFToken": client.cookies["csrftoken"].value} | JSON
    assert client.post(f"{url}cancel/", headers=token).json()["state"] == "cancelled"


def test_a_token_beside_a_cookie_decides_and_needs_no_csrf_token(browser: Client) -> None:
    task = task_of(person("grace"))
    url = f"/telltale/tasks/{task.pk}/cancel/"
    assert browser.post(url, headers=JSON | {"X-API-Key": "grace"}).json()["state"] == "cancelled"


def test_django_rest_frameworks_session_authentication_keeps_the_csrf_check(settings: Any) -> None:
    use(settings, f"{SessionAuthentication.__module__}.SessionAuthentication")
    client = Client(enforce_csrf_checks=True)
    ada = person("ada")
    client.force_login(ada)
    task = task_of(ada)
    url = f"/telltale/tasks/{task.pk}/"
    assert client.get(url).status_code == 200
    assert client.post(f"{url}cancel/").status_code == 403


@pytest.mark.parametrize(
    ("origin", "allowed", "status"),
    [
        (None, [], 200),
        ("http://testserver", [], 200),
        ("https://evil.example", [], 403),
        ("https://evil.example", ["*"], 403),
        ("https://app.example.com", ["https://app.example.com"], 200),
    ],
)
def test_s06_another_sites_page_cannot_use_the_password_that_a_browser_remembers(
    settings: Any, origin: str | None, allowed: list[str], status: int
) -> None:
    use(settings, "by_password", ALLOWED_ORIGINS=allowed)
    task = task_of(person("ada"))
    more = {"Origin": origin} if origin else {}
    response = Program(BASIC).call("post", f"/telltale/tasks/{task.pk}/cancel/", **more)
    assert response.status_code == status
