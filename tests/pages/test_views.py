"""The views: a visitor's own tasks and no others, for browsers and programs, with and without JavaScript."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client

from telltale import store
from telltale.core.states import State
from telltale.core.topics import task_topic, user_topic
from telltale.live import tickets
from telltale.models import TaskState
from telltale.owners import Owner
from tests.factories import ended, moved, person, started, task_of, unknown_id

pytestmark = pytest.mark.django_db

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
PROGRAM = "application/json"


def page(client: Client, path: str, **more: Any) -> Any:
    return client.get(path, headers={"Accept": BROWSER}, **more)


def get_json(client: Client, path: str, **headers: str) -> Any:
    return client.get(path, headers={"Accept": PROGRAM, **headers})


def post_json(client: Client, path: str, data: Any = None, **headers: str) -> Any:
    return client.post(path, json.dumps(data or {}), "application/json", headers={"Accept": PROGRAM, **headers})


def url_of(task: Any, action: str = "") -> str:
    return f"/telltale/tasks/{getattr(task, 'pk', task)}/{action}"


# One task


def test_a_program_gets_the_snapshot_with_health_and_permitted_actions(ada: Any, signed_in: Client) -> None:
    task = task_of(ada)
    moved(started(task), 0.25, seq=2)
    response = get_json(signed_in, url_of(task))
    data = response.json()
    assert (response.status_code, data["state"], data["health"], data["attempt"]) == (200, "running", "ok", 1)
    assert data["progress"]["fraction"] == 0.25
    assert (data["can_cancel"], data["can_retry"], data["url"]) == (True, False, url_of(task))
    assert int(response["Retry-After"]) >= 1
    assert set(response["Cache-Control"].split(", ")) == {"no-store", "private"}
    assert {"Accept", "Cookie"} <= set(response["Vary"].split(", "))


def test_a_program_that_names_no_type_gets_json_and_a_browser_gets_the_page(ada: Any, signed_in: Client) -> None:
    task = task_of(ada)
    assert signed_in.get(url_of(task))["Content-Type"] == "application/json"
    assert signed_in.get(url_of(task), headers={"Accept": "*/*"})["Content-Type"] == "application/json"
    response = page(signed_in, url_of(task))
    assert response["Content-Type"].startswith("text/html")
    assert task.label in response.content.decode()


def test_an_unchanged_task_is_answered_with_304_until_it_changes(ada: Any, signed_in: Client) -> None:
    task = task_of(ada)
    claim = started(task)
    moved(claim, 0.25, seq=2)
    first = get_json(signed_in, url_of(task))
    again = get_json(signed_in, url_of(task), **{"If-None-Match": first["ETag"]})
    assert (again.status_code, again.content, again["ETag"]) == (304, b"", first["ETag"])
    assert again["Retry-After"]
    assert "no-store" in again["Cache-Control"]
    moved(claim, 0.5, seq=3)
    assert get_json(signed_in, url_of(task), **{"If-None-Match": first["ETag"]}).status_code == 200


def test_lost_contact_changes_the_etag(ada: Any, signed_in: Client) -> None:
    task = task_of(ada)
    store.claim(task_id=task.pk, worker="w1")
    fresh = get_json(signed_in, url_of(task))
    TaskState.objects.filter(pk=task.pk).update(beat_at=store.now() - 50.0)
    stalled = get_json(signed_in, url_of(task), **{"If-None-Match": fresh["ETag"]})
    assert (stalled.status_code, stalled.json()["health"]) == (200, "stalled")


def test_reading_a_task_whose_lease_expired_marks_it_as_lost(ada: Any, signed_in: Client) -> None:
    task = task_of(ada)
    store.claim(task_id=task.pk, worker="w1", now=store.now() - 1_000)
    data = get_json(signed_in, url_of(task)).json()
    assert (data["state"], data["health"], data["can_cancel"]) == ("lost", None, False)


@pytest.mark.parametrize("accept", [BROWSER, PROGRAM])
def test_s15_unknown_tasks_other_owners_tasks_and_malformed_ids_get_the_same_response(
    signed_in: Client, accept: str
) -> None:
    theirs = task_of(person("grace"))
    responses = []
    for task in (theirs.pk, unknown_id(), "7", "not-an-id", "%00", theirs.pk.hex.upper()):
        for method, what in (("get", ""), ("post", "cancel/"), ("post", "retry/")):
            response = getattr(signed_in, method)(url_of(task, what), headers={"Accept": accept})
            responses.append((response.status_code, response.content.replace(str(task).encode(), b"")))
    assert {status for status, _content in responses} == {404}
    assert len({content for _status, content in responses}) == 1
    assert store.get_task(theirs.pk).state == "queued"  # type: ignore[union-attr]


def test_s08_a_visitor_without_the_session_does_not_see_an_anonymous_task() -> None:
    task = task_of(Owner(session="someone"))
    assert get_json(Client(), url_of(task)).status_code == 404
    assert get_json(Client(), url_of(task_of())).status_code == 404


def test_a_page_that_shows_the_end_offers_the_result_and_takes_the_notice(ada: Any, signed_in: Client) -> None:
    task = task_of(ada)
    notice = ended(started(task), result="/imports/7/").notice
    assert notice is not None
    response = page(signed_in, url_of(task)).content.decode()
    assert "/imports/7/" in response
    assert "http-equiv" not in response
    assert store.take_notice(notice.id, [user_topic(ada.pk)]) is False


def test_without_javascript_the_page_refreshes_until_the_visitor_stops_it(ada: Any, signed_in: Client) -> None:
    task = task_of(ada)
    response = page(signed_in, url_of(task))
    assert "Refresh" not in response.headers
    assert '<noscript><meta http-equiv="refresh" content="3">' in response.content.decode()
    assert "http-equiv" not in page(signed_in, url_of(task) + "?refresh=off").content.decode()


def test_a_page_says_that_a_task_keeps_running_only_while_its_worker_is_there_and_nothing_stops_it(
    ada: Any, signed_in: Client
) -> None:
    def says_so(task: TaskState) -> bool:
        content = page(signed_in, url_of(task)).content.decode()
        assert ("keeps-running" in content) == ("The task keeps running" in content)
        return "The task keeps running" in content

    queued, running, stopping, stalled, over = (task_of(ada) for _ in range(5))
    for task in (running, stopping, stalled):
        started(task)
    store.request_cancel(stopping.pk)
    ended(started(over))
    TaskState.objects.filter(pk=stalled.pk).update(beat_at=store.now() - 60)
    assert [says_so(task) for task in (queued, running)] == [True, True]
    assert [says_so(task) for task in (stopping, stalled, over)] == [False, False, False]


def test_a_task_with_a_blank_label_is_shown_by_its_name(ada: Any, signed_in: Client) -> None:
    task = task_of(ada, label=" ")
    content = page(signed_in, url_of(task)).content.decode()
    assert "<title>Nothing</title>" in content
    assert '<h1 class="telltale-label">Nothing</h1>' in content
    assert ">Nothing</a>" in page(signed_in, "/telltale/tasks/").content.decode()
    notice = ended(started(task)).notice
    assert notice is not None
    assert notice.text == "Nothing: finished."


def test_s06_a_page_allows_get_only_and_an_action_post_only(ada: Any, signed_in: Client) -> None:
    task = task_of(ada)
    assert signed_in.post(url_of(task)).status_code == 405
    assert signed_in.get(url_of(task, "cancel/")).status_code == 405
    assert signed_in.get(url_of(task, "retry/")).status_code == 405


# The visitor's own tasks


def test_the_list_shows_own_tasks_unfinished_first_and_marks_expired_ones_as_lost(ada: Any, signed_in: Client) -> None:
    done = task_of(ada, label="Done")
    ended(started(done))
    waiting = task_of(ada, label="Waiting")
    lost = task_of(ada, label="Lost")
    store.claim(task_id=lost.pk, worker="w1", now=store.now() - 1_000)
    task_of(person("grace"), label="Theirs")
    listed = get_json(signed_in, "/telltale/tasks/").json()["tasks"]
    assert [task["label"] for task in listed] == ["Waiting", "Lost", "Done"]
    assert listed[1]["state"] == "lost"
    html = page(signed_in, "/telltale/tasks/").content.decode()
    assert str(waiting.pk) in html
    assert "Theirs" not in html


def test_an_anonymous_visitor_without_tasks_has_an_empty_list() -> None:
    task_of()
    assert get_json(Client(), "/telltale/tasks/").json()["tasks"] == []
    assert page(Client(), "/telltale/tasks/").status_code == 200


def test_the_list_needs_a_bounded_number_of_queries(
    ada: Any, signed_in: Client, django_assert_max_num_queries: Callable[[int], Any]
) -> None:
    for _ in range(20):
        task_of(ada)
    with django_assert_max_num_queries(4):  # session, user, tasks, and room for one
        get_json(signed_in, "/telltale/tasks/")


# Cancel and retry


def test_cancelling_a_queued_task_ends_it_at_once(ada: Any, signed_in: Client) -> None:
    task = task_of(ada)
    response = post_json(signed_in, url_of(task, "cancel/"))
    assert (response.status_code, response.json()["state"]) == (200, "cancelled")


def test_cancelling_a_running_task_requests_its_cancellation(ada: Any, signed_in: Client) -> None:
    task = task_of(ada)
    started(task)
    response = post_json(signed_in, url_of(task, "cancel/"))
    data = response.json()
    assert (response.status_code, data["state"], data["cancel_requested"]) == (202, "running", True)
    assert data["can_cancel"] is False
    assert post_json(signed_in, url_of(task, "cancel/")).status_code == 202


def test_a_browser_is_redirected_back_to_its_page_on_this_site(ada: Any, signed_in: Client) -> None:
    task = task_of(ada)
    response = signed_in.post(url_of(task, "cancel/"), {"next": "/telltale/tasks/?page=2"}, headers={"Accept": BROWSER})
    assert (response.status_code, response["Location"]) == (303, "/telltale/tasks/?page=2")


@pytest.mark.parametrize(
    "elsewhere", ["https://evil.example/", "//evil.example", "javascript:alert(1)", "", "/a\r\nX: b", "/a\0"]
)
def test_a_browser_is_never_redirected_to_another_site(ada: Any, signed_in: Client, elsewhere: str) -> None:
    task = task_of(ada)
    response = signed_in.post(url_of(task, "cancel/"), {"next": elsewhere}, headers={"Accept": BROWSER})
    assert (response.status_code, response["Location"]) == (303, url_of(task))


@pytest.mark.parametrize("accept", [BROWSER, PROGRAM])
def test_s15_nothing_in_the_response_tells_whether_another_persons_task_exists(
    ada: Any, client: Client, accept: str
) -> None:
    theirs = client.get(url_of(task_of(ada)), headers={"Accept": accept})
    missing = client.get(url_of(TaskState(pk=uuid4())), headers={"Accept": accept})
    assert theirs.status_code == missing.status_code == 404
    assert theirs.headers == missing.headers


@pytest.mark.parametrize(
    ("action", "message"),
    [("cancel/", "This task has already ended, so it can"), ("retry/", "can be run again.")],
)
@pytest.mark.parametrize("accept", [BROWSER, PROGRAM])
def test_an_action_that_is_not_possible_says_why(
    ada: Any, signed_in: Client, action: str, message: str, accept: str
) -> None:
    task = task_of(ada)
    ended(started(task))
    response = signed_in.post(url_of(task, action), headers={"Accept": accept})
    assert response.status_code == 409
    assert message in response.content.decode()


def test_a_task_that_cannot_be_cancelled_now_says_why(ada: Any, signed_in: Client) -> None:
    task = task_of(ada)
    moved(started(task), 0.9, seq=2, no_cancel="it is being saved")
    response = post_json(signed_in, url_of(task, "cancel/"))
    assert response.status_code == 409
    assert "it is being saved" in response.json()["error"]
    assert store.get_task(task.pk).cancel_requested is False  # type: ignore[union-attr]


def test_a_task_with_an_unknown_function_cannot_be_run_again(ada: Any, signed_in: Client) -> None:
    task = task_of(ada)
    ended(started(task), State.FAILED, error="Row 7 is bad.")
    data = get_json(signed_in, url_of(task)).json()
    assert (data["error"], data["can_retry"]) == ("Row 7 is bad.", False)
    response = post_json(signed_in, url_of(task, "retry/"))
    assert (response.status_code, "error" in response.json()) == (409, True)


@pytest.mark.parametrize("what", ["tasks/{}/cancel/", "tasks/{}/retry/", "ticket/"])
def test_s06_posts_from_other_sites_are_refused(ada: Any, what: str) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(ada)
    task = task_of(ada)
    assert client.post("/telltale/" + what.format(task.pk)).status_code == 403
    assert store.get_task(task.pk).state == "queued"  # type: ignore[union-attr]


# Tickets


def test_s17_a_ticket_holds_the_requested_topics_that_the_visitor_may_follow(ada: Any, signed_in: Client) -> None:
    mine, theirs = task_topic(task_of(ada).pk), task_topic(task_of(person("grace")).pk)
    data = post_json(signed_in, "/telltale/ticket/", {"topics": [mine, theirs, user_topic(ada.pk)]}).json()
    assert data["topics"] == sorted([mine, user_topic(ada.pk)])
    grant = tickets.verify(data["ticket"])
    assert (sorted(grant.topics), grant.expires_at) == (data["topics"], data["expires_at"])
    assert grant.follower == user_topic(ada.pk)


def test_a_ticket_without_any_permitted_topic_is_refused(ada: Any) -> None:
    response = post_json(Client(), "/telltale/ticket/", {"topics": [user_topic(ada.pk)]})
    assert (response.status_code, "error" in response.json()) == (404, True)


@pytest.mark.parametrize(
    "body", ["", "[]", "{}", '{"topics": "user:1"}', '{"topics": [1]}', "x" * 20_000, '{"topics": null}', "\xff\xfe"]
)
def test_a_malformed_ticket_request_gets_an_error_message(signed_in: Client, body: str) -> None:
    response = signed_in.post("/telltale/ticket/", body, "application/json")
    assert (response.status_code, bool(response.json()["error"])) == (400, True)


def test_s37_a_request_for_too_many_topics_names_the_limit(signed_in: Client) -> None:
    response = post_json(signed_in, "/telltale/ticket/", {"topics": [f"p:{n}" for n in range(201)]})
    assert response.status_code == 400
    assert "200" in response.json()["error"]


# Notices


def test_a_notice_is_granted_to_one_page_once(ada: Any) -> None:
    notice = store.add_notice(user_topic(ada.pk), "Ready")
    bearer = {"Authorization": f"Bearer {tickets.issue([user_topic(ada.pk)])}"}
    path, any_client = f"/telltale/notices/{notice.id}/take/", Client(enforce_csrf_checks=True)
    assert any_client.post(path, headers=bearer).json() == {"granted": True}
    assert any_client.post(path, headers=bearer).json() == {"granted": False}


def test_a_page_that_names_itself_holds_a_notice_until_it_confirms_it(ada: Any) -> None:
    notice = store.add_notice(user_topic(ada.pk), "Ready")
    take = partial(take_notice, notice.id, tickets.issue([user_topic(ada.pk)]))
    assert take(holder="A").json() == {"granted": True, "confirm_within_s": store.HELD_S}
    refused = take(holder="B").json()
    assert refused.keys() == {"granted", "retry_after_s"}
    assert not refused["granted"]
    assert 0 < refused["retry_after_s"] <= store.HELD_S
    for _repeated in range(2):
        assert take(holder="A", shown=True).json() == {"shown": True}
    assert take(holder="B").json() == {"granted": False}


@pytest.mark.parametrize("body", [{"holder": 7}, {"holder": "x" * 65}, {"holder": "x", "shown": 1}, {"shown": True}])
def test_a_malformed_request_for_a_notice_takes_nothing(ada: Any, body: dict[str, Any]) -> None:
    notice, ticket = store.add_notice(user_topic(ada.pk), "Ready"), tickets.issue([user_topic(ada.pk)])
    assert take_notice(notice.id, ticket, **body).status_code == 400
    assert take_notice(notice.id, ticket, holder="A").json()["granted"] is True


def take_notice(notice_id: str, ticket: str, **body: Any) -> Any:
    client = Client(enforce_csrf_checks=True)
    return post_json(client, f"/telltale/notices/{notice_id}/take/", body, Authorization=f"Bearer {ticket}")


def test_a_notice_is_not_granted_without_a_ticket_for_its_topic(ada: Any) -> None:
    notice = store.add_notice(user_topic(ada.pk), "Ready")
    path = f"/telltale/notices/{notice.id}/take/"
    other = {"Authorization": f"Bearer {tickets.issue(['user:999'])}"}
    assert Client().post(path, headers=other).json() == {"granted": False}
    assert Client().post("/telltale/notices/x/take/", headers=other).json() == {"granted": False}
    none = Client().post(path)
    assert (none.status_code, none.json()["code"]) == (401, 4401)
    assert store.take_notice(notice.id, [user_topic(ada.pk)]) is True


# Live, without telltale.asgi


def poll(ticket: str, **body: Any) -> Any:
    client = Client(enforce_csrf_checks=True)
    return post_json(client, "/telltale/live/", body, Authorization=f"Bearer {ticket}")


def test_a_poll_returns_newer_snapshots_at_once_and_when_to_poll_again(ada: Any, settings: Any) -> None:
    settings.TELLTALE = settings.TELLTALE | {"POLL_S": 3.0}
    task = task_of(ada)
    notice = store.add_notice(user_topic(ada.pk), "Hello")
    ticket = tickets.issue([user_topic(ada.pk)])
    data = poll(ticket).json()
    assert (data["type"], data["v"], data["poll_after_s"]) == ("poll", 1, 3.0)
    assert set(data["limits"]) == {"quiet_s", "stalled_s", "lease_s"}
    assert [t["id"] for t in data["tasks"]] == [str(task.pk)]
    assert [n["id"] for n in data["notices"]] == [notice.id]
    again = poll(ticket, have={str(task.pk): [1, False, 0]}, seen=[notice.id]).json()
    assert (again["tasks"], again["notices"]) == ([], [])
    started(task)
    assert len(poll(ticket, have={str(task.pk): [1, False, 0]}).json()["tasks"]) == 1


def test_s44_a_poll_returns_more_tasks_than_fit_into_one_frame() -> None:
    tasks = [task_of(label="x" * 250, kwargs={"n": n}) for n in range(150)]
    data = poll(tickets.issue([task_topic(task.pk) for task in tasks])).json()
    assert {t["id"] for t in data["tasks"]} == {str(task.pk) for task in tasks}


@pytest.mark.parametrize(
    ("ticket", "status", "code"), [("", 401, 4401), ("nonsense", 401, 4401), ("expired", 401, 4402)]
)
def test_s08_a_poll_without_a_valid_ticket_is_refused_with_a_reason(ticket: str, status: int, code: int) -> None:
    response = poll(tickets.issue(["user:1"], ttl_s=-1) if ticket == "expired" else ticket)
    assert (response.status_code, response.json()["type"], response.json()["code"]) == (status, "bye", code)


@pytest.mark.parametrize(
    "body", [{"have": [1]}, {"have": {"x": 1}}, {"seen": {"x": 1}}, {"wait_s": "long"}, {"have": {"x": [1, 2, 3]}}]
)
def test_a_malformed_poll_is_refused(body: dict[str, Any]) -> None:
    response = poll(tickets.issue(["user:1"]), **body)
    assert (response.status_code, response.json()["code"]) == (400, 4400)


def test_a_stream_is_refused_without_asgi() -> None:
    response = Client().get("/telltale/live/", headers={"Accept": "text/event-stream"})
    assert response.status_code == 406
    assert "telltale.asgi" in response.json()["error"]
