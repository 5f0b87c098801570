"""The pages and answers: mine and nobody else's, by person and by program, with and without scripts."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from telltale import store
from telltale.core.states import State
from telltale.core.topics import task_topic, user_topic
from telltale.live import tickets
from telltale.owners import Owner
from tests.factories import ended, moved, person, started, task_of, unknown_id

pytestmark = pytest.mark.django_db

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
PROGRAM = "application/json"


@pytest.fixture
def ada() -> Any:
    return person("ada")


@pytest.fixture
def signed_in(ada: Any) -> Client:
    client = Client()
    client.force_login(ada)
    return client


def page(client: Client, path: str, **more: Any) -> Any:
    return client.get(path, headers={"Accept": BROWSER}, **more)


def get_json(client: Client, path: str, **headers: str) -> Any:
    return client.get(path, headers={"Accept": PROGRAM, **headers})


def post_json(client: Client, path: str, data: Any = None, **headers: str) -> Any:
    return client.post(path, json.dumps(data or {}), "application/json", headers={"Accept": PROGRAM, **headers})


def at(task: Any, what: str = "") -> str:
    return f"/telltale/tasks/{getattr(task, 'pk', task)}/{what}"


# One task


def test_a_program_gets_the_snapshot_with_health_and_what_it_may_do(ada: Any, signed_in: Client) -> None:
    task = task_of(ada)
    moved(started(task), 0.25, seq=2)
    answer = get_json(signed_in, at(task))
    data = answer.json()
    assert (answer.status_code, data["state"], data["health"], data["attempt"]) == (200, "running", "ok", 1)
    assert data["progress"]["fraction"] == 0.25
    assert (data["can_cancel"], data["can_retry"], data["url"]) == (True, False, at(task))
    assert int(answer["Retry-After"]) >= 1
    assert set(answer["Cache-Control"].split(", ")) == {"no-store", "private"}
    assert {"Accept", "Cookie"} <= set(answer["Vary"].split(", "))


def test_a_program_that_names_no_type_gets_json_and_a_browser_the_page(ada: Any, signed_in: Client) -> None:
    task = task_of(ada)
    assert signed_in.get(at(task))["Content-Type"] == "application/json"
    assert signed_in.get(at(task), headers={"Accept": "*/*"})["Content-Type"] == "application/json"
    answer = page(signed_in, at(task))
    assert answer["Content-Type"].startswith("text/html")
    assert task.label in answer.content.decode()


def test_nothing_new_is_answered_by_304_until_something_is(ada: Any, signed_in: Client) -> None:
    task = task_of(ada)
    claim = started(task)
    moved(claim, 0.25, seq=2)
    first = get_json(signed_in, at(task))
    again = get_json(signed_in, at(task), **{"If-None-Match": first["ETag"]})
    assert (again.status_code, again.content, again["ETag"]) == (304, b"", first["ETag"])
    assert again["Retry-After"]
    assert "no-store" in again["Cache-Control"]
    moved(claim, 0.5, seq=3)
    assert get_json(signed_in, at(task), **{"If-None-Match": first["ETag"]}).status_code == 200


def test_lost_contact_is_news_too(ada: Any, signed_in: Client, settings: Any) -> None:
    settings.TELLTALE = settings.TELLTALE | {"BEAT_S": 0.01, "STALLED_S": 0.05, "LEASE_S": 60.0}
    task = task_of(ada)
    store.claim(task_id=task.pk, worker="w1")
    fresh = get_json(signed_in, at(task))
    time.sleep(0.1)
    stalled = get_json(signed_in, at(task), **{"If-None-Match": fresh["ETag"]})
    assert (stalled.status_code, stalled.json()["health"]) == (200, "stalled")


def test_a_read_says_that_a_task_is_lost_with_no_scheduler_about(ada: Any, signed_in: Client) -> None:
    task = task_of(ada)
    store.claim(task_id=task.pk, worker="w1", now=store.now() - 1_000)
    data = get_json(signed_in, at(task)).json()
    assert (data["state"], data["health"], data["can_cancel"]) == ("lost", None, False)


@pytest.mark.parametrize("accept", [BROWSER, PROGRAM])
def test_not_there_not_yours_and_no_id_are_answered_alike(signed_in: Client, accept: str) -> None:
    theirs = task_of(person("grace"))
    answers = []
    for task in (theirs.pk, unknown_id(), "7", "not-an-id", "%00", theirs.pk.hex.upper()):
        for method, what in (("get", ""), ("post", "cancel/"), ("post", "retry/")):
            answer = getattr(signed_in, method)(at(task, what), headers={"Accept": accept})
            answers.append((answer.status_code, answer.content.replace(str(task).encode(), b"")))
    assert {status for status, _content in answers} == {404}
    assert len({content for _status, content in answers}) == 1
    assert store.get_task(theirs.pk).state == "queued"  # type: ignore[union-attr]


def test_a_stranger_without_a_session_sees_nothing_of_an_anonymous_task() -> None:
    task = task_of(Owner(session="someone"))
    assert get_json(Client(), at(task)).status_code == 404
    assert get_json(Client(), at(task_of())).status_code == 404


def test_a_task_that_ends_while_it_is_shown_offers_its_result_and_says_no_more_in_a_toast(
    ada: Any, signed_in: Client
) -> None:
    task = task_of(ada)
    notice = ended(started(task), result="/imports/7/").notice
    assert notice is not None
    answer = page(signed_in, at(task)).content.decode()
    assert "/imports/7/" in answer
    assert "http-equiv" not in answer
    assert store.take_notice(notice.id, [user_topic(ada.pk)]) is False


def test_without_scripts_the_page_loads_itself_anew_until_it_is_told_to_stop(ada: Any, signed_in: Client) -> None:
    task = task_of(ada)
    answer = page(signed_in, at(task))
    assert "Refresh" not in answer.headers
    assert '<noscript><meta http-equiv="refresh" content="3">' in answer.content.decode()
    assert "http-equiv" not in page(signed_in, at(task) + "?refresh=off").content.decode()


def test_a_task_can_be_watched_but_not_looked_at_by_other_methods(ada: Any, signed_in: Client) -> None:
    task = task_of(ada)
    assert signed_in.post(at(task)).status_code == 405
    assert signed_in.get(at(task, "cancel/")).status_code == 405
    assert signed_in.get(at(task, "retry/")).status_code == 405


# Mine


def test_the_list_holds_mine_open_ones_first_and_ends_what_lapsed(ada: Any, signed_in: Client) -> None:
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


def test_who_is_nobody_has_an_empty_list() -> None:
    task_of()
    assert get_json(Client(), "/telltale/tasks/").json()["tasks"] == []
    assert page(Client(), "/telltale/tasks/").status_code == 200


def test_the_list_costs_a_bounded_number_of_queries(
    ada: Any, signed_in: Client, django_assert_max_num_queries: Callable[[int], Any]
) -> None:
    for _ in range(20):
        task_of(ada)
    with django_assert_max_num_queries(4):  # session, user, tasks, and room for one
        get_json(signed_in, "/telltale/tasks/")


# Cancel and retry


def test_cancelling_what_waits_ends_it_at_once(ada: Any, signed_in: Client) -> None:
    task = task_of(ada)
    answer = post_json(signed_in, at(task, "cancel/"))
    assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")


def test_cancelling_what_runs_asks_for_its_end(ada: Any, signed_in: Client) -> None:
    task = task_of(ada)
    started(task)
    answer = post_json(signed_in, at(task, "cancel/"))
    data = answer.json()
    assert (answer.status_code, data["state"], data["cancel_requested"]) == (202, "running", True)
    assert data["can_cancel"] is False
    assert post_json(signed_in, at(task, "cancel/")).status_code == 202


def test_a_browser_is_sent_back_to_where_it_was_on_this_site(ada: Any, signed_in: Client) -> None:
    task = task_of(ada)
    answer = signed_in.post(at(task, "cancel/"), {"next": "/telltale/tasks/?page=2"}, headers={"Accept": BROWSER})
    assert (answer.status_code, answer["Location"]) == (303, "/telltale/tasks/?page=2")


@pytest.mark.parametrize("elsewhere", ["https://evil.example/", "//evil.example", "javascript:alert(1)", ""])
def test_a_browser_is_never_sent_to_another_site(ada: Any, signed_in: Client, elsewhere: str) -> None:
    task = task_of(ada)
    answer = signed_in.post(at(task, "cancel/"), {"next": elsewhere}, headers={"Accept": BROWSER})
    assert (answer.status_code, answer["Location"]) == (303, at(task))


@pytest.mark.parametrize("what", ["cancel/", "retry/"])
@pytest.mark.parametrize("accept", [BROWSER, PROGRAM])
def test_what_can_not_be_done_is_said_in_words(ada: Any, signed_in: Client, what: str, accept: str) -> None:
    task = task_of(ada)
    ended(started(task))
    answer = signed_in.post(at(task, what), headers={"Accept": accept})
    assert answer.status_code == 409
    assert b"nothing to" in answer.content


def test_what_is_past_its_point_of_no_return_says_why_it_goes_on(ada: Any, signed_in: Client) -> None:
    task = task_of(ada)
    moved(started(task), 0.9, seq=2, no_cancel="it is being saved")
    answer = post_json(signed_in, at(task, "cancel/"))
    assert answer.status_code == 409
    assert "it is being saved" in answer.json()["error"]
    assert store.get_task(task.pk).cancel_requested is False  # type: ignore[union-attr]


def test_a_task_whose_function_is_not_known_here_says_that_it_can_not_be_run_again(ada: Any, signed_in: Client) -> None:
    task = task_of(ada)
    ended(started(task), State.FAILED, error="Row 7 is bad.")
    data = get_json(signed_in, at(task)).json()
    assert (data["error"], data["can_retry"]) == ("Row 7 is bad.", False)
    answer = post_json(signed_in, at(task, "retry/"))
    assert (answer.status_code, "error" in answer.json()) == (409, True)


@pytest.mark.parametrize("what", ["tasks/{}/cancel/", "tasks/{}/retry/", "ticket/"])
def test_no_other_site_can_post_in_my_name(ada: Any, what: str) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(ada)
    task = task_of(ada)
    assert client.post("/telltale/" + what.format(task.pk)).status_code == 403
    assert store.get_task(task.pk).state == "queued"  # type: ignore[union-attr]


# Tickets


def test_a_ticket_covers_what_was_asked_for_and_is_mine(ada: Any, signed_in: Client) -> None:
    mine, theirs = task_topic(task_of(ada).pk), task_topic(task_of(person("grace")).pk)
    data = post_json(signed_in, "/telltale/ticket/", {"topics": [mine, theirs, user_topic(ada.pk)]}).json()
    assert data["topics"] == sorted([mine, user_topic(ada.pk)])
    grant = tickets.verify(data["ticket"])
    assert (sorted(grant.topics), grant.expires_at) == (data["topics"], data["expires_at"])
    assert grant.follower == user_topic(ada.pk)


def test_a_ticket_for_nothing_that_is_mine_is_not_there(ada: Any) -> None:
    answer = post_json(Client(), "/telltale/ticket/", {"topics": [user_topic(ada.pk)]})
    assert (answer.status_code, "error" in answer.json()) == (404, True)


@pytest.mark.parametrize(
    "body", ["", "[]", "{}", '{"topics": "user:1"}', '{"topics": [1]}', "x" * 20_000, '{"topics": null}', "\xff\xfe"]
)
def test_a_malformed_request_for_a_ticket_is_refused_in_words(signed_in: Client, body: str) -> None:
    answer = signed_in.post("/telltale/ticket/", body, "application/json")
    assert (answer.status_code, bool(answer.json()["error"])) == (400, True)


def test_a_ticket_for_too_many_topics_says_how_many_it_holds(signed_in: Client) -> None:
    answer = post_json(signed_in, "/telltale/ticket/", {"topics": [f"p:{n}" for n in range(201)]})
    assert answer.status_code == 400
    assert "200" in answer.json()["error"]


# Notices


def test_a_notice_is_granted_to_one_page_of_all_once(ada: Any) -> None:
    notice = store.add_notice(user_topic(ada.pk), "Ready")
    bearer = {"Authorization": f"Bearer {tickets.issue([user_topic(ada.pk)])}"}
    path, anybody = f"/telltale/notices/{notice.id}/take/", Client(enforce_csrf_checks=True)
    assert anybody.post(path, headers=bearer).json() == {"granted": True}
    assert anybody.post(path, headers=bearer).json() == {"granted": False}


def test_a_notice_is_not_granted_to_who_may_not_hear_it(ada: Any) -> None:
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


def test_a_poll_is_answered_at_once_with_what_is_newer_and_when_to_ask_again(ada: Any, settings: Any) -> None:
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


def test_a_poll_holds_many_more_tasks_than_one_frame() -> None:
    tasks = [task_of(label="x" * 250, kwargs={"n": n}) for n in range(150)]
    data = poll(tickets.issue([task_topic(task.pk) for task in tasks])).json()
    assert {t["id"] for t in data["tasks"]} == {str(task.pk) for task in tasks}


@pytest.mark.parametrize(
    ("ticket", "status", "code"), [("", 401, 4401), ("nonsense", 401, 4401), ("expired", 401, 4402)]
)
def test_a_poll_without_a_good_ticket_gets_nothing_and_is_told_why(ticket: str, status: int, code: int) -> None:
    answer = poll(tickets.issue(["user:1"], ttl_s=-1) if ticket == "expired" else ticket)
    assert (answer.status_code, answer.json()["type"], answer.json()["code"]) == (status, "bye", code)


@pytest.mark.parametrize(
    "body", [{"have": [1]}, {"have": {"x": 1}}, {"seen": {"x": 1}}, {"wait_s": "long"}, {"have": {"x": [1, 2, 3]}}]
)
def test_a_malformed_poll_is_told_so(body: dict[str, Any]) -> None:
    answer = poll(tickets.issue(["user:1"]), **body)
    assert (answer.status_code, answer.json()["code"]) == (400, 4400)


def test_a_stream_is_refused_where_it_can_not_be_served() -> None:
    answer = Client().get("/telltale/live/", headers={"Accept": "text/event-stream"})
    assert answer.status_code == 406
    assert "telltale.asgi" in answer.json()["error"]
