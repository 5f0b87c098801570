"""`TELLTALE["ALLOWED_ORIGINS"]`: pages of other origins use the views, as far as their browsers are told."""

from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse

from telltale import checks, urls
from telltale.core.topics import user_topic
from telltale.live import tickets
from tests.factories import person, task_of

pytestmark = pytest.mark.django_db

APP = "https://app.example.com"
VIEWS = [str(pattern.name) for pattern in urls.urlpatterns]
WALL = "django.contrib.auth.middleware.LoginRequiredMiddleware"


@pytest.fixture(autouse=True)
def site(settings: Any) -> None:
    settings.TELLTALE = settings.TELLTALE | {"ALLOWED_ORIGINS": [APP]}


def url_of(name: str) -> str:
    pattern = next(pattern for pattern in urls.urlpatterns if pattern.name == name)
    return reverse(f"telltale:{name}", args=[uuid4() for _ in pattern.pattern.converters])


def preflight(name: str, origin: str = APP) -> Any:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,x-api-key"}
    return Client().options(url_of(name), headers={"Origin": origin} | asked)


@pytest.mark.parametrize("is_walled", [False, True])
@pytest.mark.parametrize("name", VIEWS)
def test_every_view_answers_a_preflight_without_credentials(name: str, is_walled: bool, settings: Any) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, *([WALL] if is_walled else [])]
    response = preflight(name)
    assert (response.status_code, response.content) == (204, b"")
    assert response.headers["Access-Control-Allow-Origin"] == APP
    assert response.headers["Access-Control-Allow-Headers"] == "authorization,x-api-key"
    assert "Access-Control-Allow-Origin" not in preflight(name, "https://evil.example").headers


@pytest.mark.parametrize("name", VIEWS)
def test_s05_every_answer_also_a_refusal_can_be_read_by_pages_of_allowed_origins_only(name: str) -> None:
    for method in ("get", "post"):
        allowed = getattr(Client(), method)(url_of(name), headers={"Origin": APP})
        assert allowed.headers["Access-Control-Allow-Origin"] == APP
        assert "Location" in allowed.headers["Access-Control-Expose-Headers"]
        foreign = getattr(Client(), method)(url_of(name), headers={"Origin": "https://evil.example"})
        assert "Access-Control-Allow-Origin" not in foreign.headers
        assert foreign.status_code == allowed.status_code
        for response in (allowed, foreign):
            assert "Origin" in response.headers["Vary"]


@pytest.mark.parametrize("name", VIEWS)
def test_s04_without_the_setting_nothing_is_said_about_origins(name: str, settings: Any) -> None:
    settings.TELLTALE = settings.TELLTALE | {"ALLOWED_ORIGINS": []}
    assert preflight(name).status_code in {401, 405}
    response = Client().get(url_of(name), headers={"Origin": APP})
    assert not [header for header in response.headers if header.startswith("Access-Control")]
    assert "Origin" not in response.headers.get("Vary", "")


def test_polls_of_another_origin_are_answered_where_the_server_cannot_stream() -> None:
    ada = person("ada")
    task = task_of(ada)
    headers = {"Origin": APP, "Authorization": f"Bearer {tickets.issue([user_topic(ada.pk)])}"}
    response = Client().post("/telltale/live/", "{}", "application/json", headers=headers)
    assert [row["id"] for row in response.json()["tasks"]] == [str(task.pk)]
    assert response.headers["Access-Control-Allow-Origin"] == APP


@pytest.mark.parametrize("origin", ["app.example.com", "https://app.example.com/", "https://app.*.com"])
def test_the_check_names_an_entry_that_is_no_origin(settings: Any, origin: str) -> None:
    settings.TELLTALE = settings.TELLTALE | {"ALLOWED_ORIGINS": [origin, "*"]}
    (error,) = checks.check_settings()
    assert f"has {origin!r}, which is no origin" in error.msg
    assert "https://app.example.com" in str(error.hint)
