"""Requests that no page of Telltale sends, to each of its addresses: no effect, no secret, no error of the server."""

import json
from typing import Any
from urllib.parse import urlencode
from uuid import UUID, uuid4

import pytest
from django.test import Client
from django.urls import reverse

import telltale
from telltale import store, urls
from telltale.core.states import State
from telltale.core.topics import task_topic, user_topic
from telltale.dispatch.control import cancel
from telltale.live import tickets
from telltale.models import TaskState
from tests.app import thread_tasks
from tests.factories import ended, person, started, task_of

pytestmark = pytest.mark.django_db

BROWSER, PROGRAM = "text/html", "application/json"


@pytest.fixture
def ada() -> Any:
    return person("ada")


@pytest.fixture
def signed_in(ada: Any) -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(ada)
    return client


def addresses(task: Any = "") -> dict[str, str]:
    """The path of each address, by its name; those about a task are about `task`."""
    patterns = {str(pattern.name): pattern.pattern.converters for pattern in urls.urlpatterns}
    return {
        name: reverse(f"telltale:{name}", args=[getattr(task, "pk", uuid4()) for _ in arguments])
        for name, arguments in patterns.items()
    }


def get(client: Client, path: str, accept: str = PROGRAM, **headers: str) -> Any:
    return client.get(path, headers={"Accept": accept, **headers})


# Other sites' pages


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
@pytest.mark.parametrize("action", ["cancel", "retry"])
def test_s06_a_form_of_another_site_changes_nothing(ada: Any, content_type: str, action: str) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(ada)
    task = task_of(ada)
    if action == "retry":
        ended(started(task), State.FAILED)
    before = TaskState.objects.values().get(pk=task.pk)
    for token in ("", "x" * 32, "a" * 64):
        data: Any = {"csrfmiddlewaretoken": token}
        more = {} if content_type == "multipart/form-data" else {"content_type": content_type}
        headers = {"Origin": "https://evil.example", **({"X-CSRFToken": token} if token else {})}
        body = urlencode(data) if more else data
        assert client.post(addresses(task)[action], body, headers=headers, **more).status_code == 403
    assert client.head(addresses(task)[action]).status_code == 405
    assert TaskState.objects.values().get(pk=task.pk) == before


@pytest.mark.parametrize("accept", [BROWSER, PROGRAM, "text/event-stream"])
def test_s04_what_a_cookie_alone_gets_can_be_read_by_pages_of_this_site_only(
    signed_in: Client, ada: Any, accept: str
) -> None:
    headers = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    for path in addresses(task_of(ada)).values():
        response = get(signed_in, path, accept, **headers)
        assert not [header for header in response.headers if header.startswith("Access-Control")]
        if response["Content-Type"].startswith("application/json"):
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert response.headers["Cross-Origin-Resource-Policy"] == "same-origin"
            assert isinstance(response.json(), dict), "a list could be run as a script by old browsers"


# Visitors without rights


@pytest.mark.parametrize("accept", [BROWSER, PROGRAM])
def test_s08_an_anonymous_visitor_sees_no_task_and_gets_no_ticket_for_one(ada: Any, accept: str) -> None:
    task = task_of(ada, label="Hers")
    listing = get(Client(), "/telltale/tasks/", accept)
    assert (listing.status_code, b"Hers" in listing.content) == (200, False)
    assert get(Client(), addresses(task)["task"], accept).status_code == 404
    for topic in (task_topic(task.pk), user_topic(ada.pk), "project:7"):
        answer = Client().post("/telltale/ticket/", json.dumps({"topics": [topic]}), "application/json")
        assert answer.status_code == 404


def test_s02_s14_a_ticket_counts_in_its_header_alone_and_a_cookie_is_none(signed_in: Client, ada: Any) -> None:
    ticket = tickets.issue([user_topic(ada.pk)])
    live = "/telltale/live/"
    for path, data in ((live, {}), (f"{live}?ticket={ticket}&access_token={ticket}", {}), (live, {"ticket": ticket})):
        refusal = signed_in.post(path, json.dumps(data), "application/json")
        assert (refusal.status_code, refusal.json()["code"]) == (401, 4401)
    signed_in.cookies["ticket"] = ticket
    assert signed_in.post(live, "{}", "application/json").status_code == 401
    assert (
        signed_in.post(live, "{}", "application/json", headers={"Authorization": f"Bearer {ticket}"}).status_code == 200
    )


def test_s20_a_retry_runs_the_stored_call_whatever_the_request_says(signed_in: Client, ada: Any) -> None:
    row = telltale.enqueue(thread_tasks.count, "no-log", 1, 0.0, owner=ada)
    cancel(row)
    before = TaskState.objects.get(pk=row.pk)
    asked = {
        "args": ["/etc/passwd"],
        "kwargs": {"steps": 9},
        "queue": "x",
        "priority": 9,
        "name": "os.system",
        "call": {},
    }
    path = addresses(row)["retry"]
    assert signed_in.post(f"{path}?queue=x&name=os.system", json.dumps(asked), "application/json").status_code == 202
    after = TaskState.objects.get(pk=row.pk)
    assert after.attempt == before.attempt + 1
    for field in ("call", "queue", "name", "runner", "owner_id", "key"):
        assert getattr(after, field) == getattr(before, field)


def test_s35_the_lists_filter_and_order_by_nothing_that_a_request_names(signed_in: Client, ada: Any) -> None:
    task_of(ada)
    plain = get(signed_in, "/telltale/tasks/").json()
    for query in ("owner__password__startswith=x", "ordering=owner__password", "session=", "owner=1", "state__in=x"):
        answer = get(signed_in, f"/telltale/tasks/?{query}").json()
        assert [task["id"] for task in answer["tasks"]] == [task["id"] for task in plain["tasks"]]
    staff = Client(raise_request_exception=False)
    staff.force_login(person("root", is_staff=True, is_superuser=True))
    for query in ("owner__password__startswith=x", "owner__groups__name=x", "call__secret=x", "o=password"):
        listing = staff.get(f"/admin/telltale/taskstate/?{query}")
        assert listing.status_code in {200, 302, 400}
        assert b"x" * 20 not in listing.content


# Malformed requests

BODIES = {
    "empty": b"",
    "8 MB of lines": b"\n" * 8_000_000,
    "nested": b"[" * 16_000,
    "nested objects": b'{"a":' * 3_000,
    "no UTF-8": b"\xff\xfe\x00",
    "NUL": b'{"topics": ["task:\\u0000"], "holder": "\\u0000"}',
    "surrogate": b'{"topics": ["task:\\ud800"], "holder": "\\ud800"}',
    "numbers": b'{"topics": 1e999, "have": {"x": [1e999, 0, -1]}, "holder": 1}',
    "proto": b'{"__proto__": {"topics": []}, "constructor": 1}',
    "list": b"[]",
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_s24_s41_a_malformed_request_gets_a_plain_refusal(signed_in: Client, ada: Any, body: bytes) -> None:
    ticket = {"Authorization": f"Bearer {tickets.issue([user_topic(ada.pk)])}"}
    for path in addresses(task_of(ada)).values():
        for headers in ({}, ticket):
            response = signed_in.post(path, body, "application/json", headers=headers)
            assert response.status_code < 500
            for sign in (b"Traceback", b"Error:", b"Exception", b'File "', b"site-packages"):
                assert sign not in response.content


QUERIES = ["before=%00", "before=1,2,3", f"before={'9' * 5_000}", "id=%ff&id=7&id=", "refresh=%00", f"x={'[' * 9_000}"]


@pytest.mark.parametrize("accept", [BROWSER, PROGRAM, "text/event-stream", "\x00", "*/*;q=x"])
def test_s24_a_malformed_query_gets_a_plain_answer(signed_in: Client, ada: Any, accept: str) -> None:
    for path in addresses(task_of(ada)).values():
        for query in QUERIES:
            response = get(signed_in, f"{path}?{query}", accept)
            assert response.status_code < 500
            assert b"Traceback" not in response.content


# Caches


@pytest.mark.parametrize("accept", [BROWSER, PROGRAM])
@pytest.mark.parametrize("method", ["get", "post"])
def test_s25_no_cache_keeps_an_answer_about_a_visitor(signed_in: Client, ada: Any, method: str, accept: str) -> None:
    kept = set()
    for name, path in addresses(task_of(ada)).items():
        response = getattr(signed_in, method)(path, headers={"Accept": accept})
        if response.status_code in {403, 405} or not response.content:
            continue  # The same for all visitors.
        if response.status_code == 404 and "text/html" in response["Content-Type"]:
            assert "Cookie" in response.headers["Vary"], name  # The site's own page of this error.
            continue
        if name == "push_worker":
            assert response.content == getattr(Client(), method)(path).content
            continue
        assert {"no-store", "private"} <= set(response.headers["Cache-Control"].split(", ")), name
        kept.add(name)
        if name != "live":  # Cookies don't count there.
            assert "Cookie" in response.headers["Vary"], name
    assert len(kept) >= 3


def test_s26_an_answer_with_a_tasks_text_has_no_token(signed_in: Client, ada: Any) -> None:
    # A secret beside a text that an attacker chooses could be guessed by the length of the compressed answer.
    task = task_of(ada, label="guess")
    for path in (addresses(task)["task"], addresses(task)["tasks"]):
        signed_in.get(path, headers={"Accept": BROWSER})  # Now there is a CSRF token.
        text = get(signed_in, path).content.decode().lower()
        assert "guess" in text
        for secret in ("csrf", "ticket", "session"):
            assert secret not in text


def test_s23_programs_and_followers_get_no_internals_of_a_task(signed_in: Client, ada: Any) -> None:
    row = telltale.enqueue(thread_tasks.count, "s3cret-path", 1, 0.0, owner=ada)
    claim = store.claim(task_id=row.pk, worker="host-7:4711")
    assert isinstance(claim, store.Claim)
    ended(claim, State.FAILED, detail='File "/srv/site/s3cret.py", line 7\nKeyError: s3cret')
    poll_headers = {"Authorization": f"Bearer {tickets.issue([task_topic(row.pk)])}"}
    answers = [
        get(signed_in, addresses(row)[name], accept) for name in ("task", "tasks") for accept in (BROWSER, PROGRAM)
    ]
    answers.append(Client().post("/telltale/live/", "{}", "application/json", headers=poll_headers))
    for answer in answers:
        assert str(row.pk) in answer.content.decode()
        for internal in ("s3cret", "host-7", "4711", "/srv/", "KeyError"):
            assert internal not in answer.content.decode()


def test_s16_ids_are_random_and_what_others_follow_names_no_owner() -> None:
    owner = person("ada", pk=918_273_645)
    task = task_of(owner)
    notice = ended(started(task)).notice
    assert notice is not None
    assert (task.pk.version, UUID(str(notice.id)).version) == (4, 4)
    headers = {"Authorization": f"Bearer {tickets.issue([task_topic(task.pk)])}"}
    frames = Client().post("/telltale/live/", "{}", "application/json", headers=headers)
    assert str(task.pk) in frames.content.decode()
    client = Client()
    client.force_login(owner)
    for answer in (frames, get(client, addresses(task)["task"]), get(client, addresses(task)["tasks"])):
        assert str(owner.pk) not in answer.content.decode()
