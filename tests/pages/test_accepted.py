"""`telltale.accepted`: an immediate response that says where and when to poll, or the end for a client that waits."""

import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.db import connections
from django.test import Client, RequestFactory

import telltale
from telltale.core.snapshot import Progress
from telltale.core.states import State
from telltale.models import TaskState
from telltale.pages.accepted import Preference
from telltale.pages.responses import retry_after_s
from tests.factories import ended, moved, person, started, task_of


def request_with(**headers: str) -> Any:
    return RequestFactory().post("/imports/", headers={"Accept": "application/json", **headers})


@pytest.mark.django_db
def test_a_program_gets_the_tasks_url_and_when_to_poll() -> None:
    task = task_of()
    response: Any = telltale.accepted(request_with(), task)
    assert response.status_code == 202
    assert response["Location"] == f"/telltale/tasks/{task.pk}/"
    assert response["Retry-After"].isdigit()
    assert int(response["Retry-After"]) >= 1
    assert b'"state": "queued"' in response.content
    assert "no-store" in response["Cache-Control"]


@pytest.mark.django_db
def test_a_browser_is_redirected_to_the_tasks_page_or_to_the_views_url() -> None:
    task, browser = task_of(), request_with(Accept="text/html,*/*;q=0.8")
    response: Any = telltale.accepted(browser, task)
    assert (response.status_code, response["Location"]) == (303, f"/telltale/tasks/{task.pk}/")
    elsewhere: Any = telltale.accepted(browser, task, next_url="/thanks/")
    assert elsewhere["Location"] == "/thanks/"


@pytest.mark.django_db
def test_a_task_that_has_already_ended_is_returned_with_200() -> None:
    task = task_of()
    ended(started(task))
    response: Any = telltale.accepted(request_with(), task)
    assert response.status_code == 200
    assert "Retry-After" not in response.headers
    assert b'"state": "succeeded"' in response.content


@pytest.mark.django_db
def test_the_result_of_a_runners_own_call_is_found_by_its_id_or_the_error_names_the_fix() -> None:
    task = task_of(runner_id="abc-1")
    response: Any = telltale.accepted(request_with(), SimpleNamespace(id="abc-1"))
    assert str(task.pk) in response["Location"]
    with pytest.raises(LookupError, match=r"has no row\. .*@telltale\.tracked"):
        telltale.accepted(request_with(), SimpleNamespace(id="unknown"))


@pytest.mark.django_db(transaction=True)
def test_a_client_that_waits_gets_the_end_if_it_comes_in_time() -> None:
    task = task_of()

    def work() -> None:
        claim = started(task)
        time.sleep(0.3)
        ended(claim)
        connections.close_all()

    worker = threading.Thread(target=work)
    worker.start()
    response: Any = telltale.accepted(request_with(Prefer="respond-async, wait=30"), task, wait=30)
    worker.join()
    assert response.status_code == 200
    assert response["Preference-Applied"] == "respond-async, wait=30"
    assert TaskState.objects.get(pk=task.pk).state == "succeeded"


@pytest.mark.django_db(transaction=True)
def test_a_client_that_waits_gets_a_response_when_the_time_is_up() -> None:
    began = time.monotonic()
    response: Any = telltale.accepted(request_with(Prefer="wait=1"), task_of(), wait=30)
    assert response.status_code == 202
    assert 0.9 < time.monotonic() - began < 20


@pytest.mark.django_db(transaction=True)
def test_a_client_may_prefer_a_shorter_wait_than_the_view_allows_and_no_longer_one() -> None:
    began = time.monotonic()
    telltale.accepted(request_with(Prefer="respond-async"), task_of(), wait=30)
    telltale.accepted(request_with(Prefer="wait=0"), task_of(), wait=30)
    response = telltale.accepted(request_with(Prefer="wait=30"), task_of())
    assert response["Preference-Applied"] == "wait=0"
    assert time.monotonic() - began < 20


@pytest.mark.django_db
def test_inside_a_transaction_the_response_does_not_wait_for_a_task_that_cannot_start() -> None:
    began = time.monotonic()
    response: Any = telltale.accepted(request_with(Prefer="wait=30"), task_of(), wait=30)
    assert response.status_code == 202
    assert time.monotonic() - began < 20


@pytest.mark.parametrize(
    ("header", "is_async", "wait_s", "applied"),
    [
        ("", False, 20, ""),
        ("respond-async", True, 0, "respond-async"),
        ('wait="5"', False, 5, "wait=5"),
        ("WAIT=5, wait=9", False, 5, "wait=5"),
        ("wait=999999999999", False, 20, "wait=20"),
        ("wait=-1", False, 20, ""),
        ("wait=soon; return=minimal", False, 20, ""),
        ("return=minimal, respond-async; x, wait = 3", True, 3, "respond-async, wait=3"),
    ],
)
def test_preferences_are_read_as_in_the_standard(header: str, is_async: bool, wait_s: float, applied: str) -> None:
    preference = Preference(header)
    assert (preference.is_async, preference.wait_s(20), preference.applied(20)) == (is_async, wait_s, applied)


@pytest.mark.django_db
@pytest.mark.parametrize(("remaining_s", "expected"), [(0.2, 1), (20, 2), (45, 5), (100_000, 15)])
def test_the_time_to_the_next_poll_follows_from_the_time_left(remaining_s: float, expected: int) -> None:
    snapshot = moved(started(task_of()), 0.5, seq=2, remaining_s=remaining_s)
    assert retry_after_s(snapshot, now=snapshot.created_at) == expected


@pytest.mark.django_db
def test_a_new_task_is_polled_sooner_than_an_old_one() -> None:
    snapshot = task_of().snapshot
    delays_s = [retry_after_s(snapshot, now=snapshot.created_at + age_s) for age_s in (0, 15, 60, 10_000)]
    assert delays_s == [1, 2, 6, 15]
    assert (snapshot.state, snapshot.progress) == (State.QUEUED, Progress())


# htmx, and clients that accept anything

HTMX = {"Accept": "*/*", "HX-Request": "true", "HX-Current-URL": "http://testserver/imports/?page=2"}


def htmx_request(user: Any, **headers: str) -> Any:
    request = request_with(**HTMX, **headers)
    request.user = user
    return request


@pytest.mark.django_db
def test_htmx_gets_the_tasks_bar_which_is_a_part_of_its_page() -> None:
    ada = person("ada")
    task = task_of(ada)
    response: Any = telltale.accepted(htmx_request(ada), task)
    html = response.content.decode()
    assert (response.status_code, response["Content-Type"]) == (202, "text/html; charset=utf-8")
    assert html.strip().startswith(f'<task-progress task="{task.pk}"')
    assert "<html" not in html
    assert "mine" in html.partition(">")[0]
    assert 'name="next" value="http://testserver/imports/?page=2"' in html
    assert "HX-Request" in response["Vary"]
    assert "no-store" in response["Cache-Control"]


@pytest.mark.django_db
def test_htmx_gets_the_end_of_a_task_that_has_already_ended() -> None:
    task = task_of()
    ended(started(task))
    response: Any = telltale.accepted(htmx_request(AnonymousUser()), task)
    assert response.status_code == 200
    assert b'state="succeeded"' in response.content


@pytest.mark.django_db
def test_a_view_that_names_a_url_sends_htmx_there() -> None:
    response: Any = telltale.accepted(htmx_request(AnonymousUser()), task_of(), next_url="/thanks/")
    assert (response.status_code, response["HX-Redirect"], response.content) == (204, "/thanks/", b"")


@pytest.mark.django_db
def test_a_boosted_form_is_redirected_as_a_form_without_htmx_is_and_gets_the_page() -> None:
    ada = person("ada")
    task = task_of(ada)
    response: Any = telltale.accepted(htmx_request(ada, **{"HX-Boosted": "true"}), task)
    assert (response.status_code, response["Location"]) == (303, f"/telltale/tasks/{task.pk}/")
    client = Client()
    client.force_login(ada)
    page: Any = client.get(response["Location"], headers={**HTMX, "HX-Boosted": "true"})
    assert (page.status_code, page["Content-Type"]) == (200, "text/html; charset=utf-8")


@pytest.mark.django_db
def test_a_client_that_accepts_anything_and_shows_no_sign_of_a_program_is_redirected() -> None:
    task = task_of()
    response: Any = telltale.accepted(request_with(Accept="*/*"), task)
    assert (response.status_code, response["Location"]) == (303, f"/telltale/tasks/{task.pk}/")


@pytest.mark.django_db
@pytest.mark.parametrize(
    "sign", [{"Authorization": "Bearer x"}, {"Prefer": "respond-async"}, {"X-Requested-With": "XMLHttpRequest"}]
)
def test_a_program_that_accepts_anything_gets_json(sign: dict[str, str]) -> None:
    response: Any = telltale.accepted(request_with(Accept="*/*", **sign), task_of())
    assert (response.status_code, response["Content-Type"]) == (202, "application/json")


@pytest.mark.django_db
def test_a_client_that_sends_json_or_names_no_type_at_all_gets_json() -> None:
    sends_json = RequestFactory().post("/", "{}", "application/json", headers={"Accept": "*/*"})
    for request in (sends_json, RequestFactory().post("/")):
        response: Any = telltale.accepted(request, task_of())
        assert (response.status_code, response["Content-Type"]) == (202, "application/json")
