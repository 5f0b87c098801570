"""`telltale.accepted`: at once, where to ask and when, and for those who would wait, the end itself."""

import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connections
from django.test import RequestFactory

import telltale
from telltale.core.snapshot import Progress
from telltale.core.states import State
from telltale.models import TaskState
from telltale.pages.accepted import Wish
from telltale.pages.responses import retry_after_s
from tests.factories import ended, moved, started, task_of


def asks(**headers: str) -> Any:
    return RequestFactory().post("/imports/", headers={"Accept": "application/json", **headers})


@pytest.mark.django_db
def test_a_program_is_told_where_to_ask_and_when() -> None:
    task = task_of()
    answer: Any = telltale.accepted(asks(), task)
    assert answer.status_code == 202
    assert answer["Location"] == f"/telltale/tasks/{task.pk}/"
    assert answer["Retry-After"].isdigit()
    assert int(answer["Retry-After"]) >= 1
    assert b'"state": "queued"' in answer.content
    assert "no-store" in answer["Cache-Control"]


@pytest.mark.django_db
def test_a_browser_is_sent_to_the_tasks_page_or_where_the_view_says() -> None:
    task, browser = task_of(), asks(Accept="text/html,*/*;q=0.8")
    answer: Any = telltale.accepted(browser, task)
    assert (answer.status_code, answer["Location"]) == (303, f"/telltale/tasks/{task.pk}/")
    elsewhere: Any = telltale.accepted(browser, task, next_url="/thanks/")
    assert elsewhere["Location"] == "/thanks/"


@pytest.mark.django_db
def test_what_has_ended_already_is_answered_as_what_it_is() -> None:
    task = task_of()
    ended(started(task))
    answer: Any = telltale.accepted(asks(), task)
    assert answer.status_code == 200
    assert "Retry-After" not in answer.headers
    assert b'"state": "succeeded"' in answer.content


@pytest.mark.django_db
def test_what_a_runners_own_call_gave_is_found_by_its_id_and_else_the_mend_is_named() -> None:
    task = task_of(runner_id="abc-1")
    answer: Any = telltale.accepted(asks(), SimpleNamespace(id="abc-1"))
    assert str(task.pk) in answer["Location"]
    with pytest.raises(LookupError, match=r"has no row .*@telltale\.tracked"):
        telltale.accepted(asks(), SimpleNamespace(id="unknown"))


@pytest.mark.django_db(transaction=True)
def test_who_would_wait_gets_the_end_if_it_comes_in_time() -> None:
    task = task_of()

    def work() -> None:
        claim = started(task)
        time.sleep(0.3)
        ended(claim)
        connections.close_all()

    worker = threading.Thread(target=work)
    worker.start()
    answer: Any = telltale.accepted(asks(Prefer="respond-async, wait=10"), task)
    worker.join()
    assert answer.status_code == 200
    assert answer["Preference-Applied"] == "respond-async, wait=10"
    assert TaskState.objects.get(pk=task.pk).state == "succeeded"


@pytest.mark.django_db(transaction=True)
def test_who_would_wait_is_answered_when_the_time_is_up() -> None:
    before = time.monotonic()
    answer: Any = telltale.accepted(asks(Prefer="wait=1"), task_of())
    assert answer.status_code == 202
    assert 0.9 < time.monotonic() - before < 3


@pytest.mark.django_db(transaction=True)
def test_a_view_may_wait_for_those_who_say_nothing_but_not_for_who_would_not() -> None:
    before = time.monotonic()
    telltale.accepted(asks(Prefer="respond-async"), task_of(), wait=20)
    telltale.accepted(asks(Prefer="wait=0"), task_of(), wait=20)
    assert time.monotonic() - before < 2


@pytest.mark.django_db
def test_inside_a_transaction_nobody_waits_for_what_can_not_begin() -> None:
    before = time.monotonic()
    answer: Any = telltale.accepted(asks(Prefer="wait=10"), task_of())
    assert answer.status_code == 202
    assert time.monotonic() - before < 2


@pytest.mark.parametrize(
    ("header", "is_async", "wait_s", "applied"),
    [
        ("", False, None, ""),
        ("respond-async", True, None, "respond-async"),
        ('wait="5"', False, 5, "wait=5"),
        ("WAIT=5, wait=9", False, 5, "wait=5"),
        ("wait=999999999999", False, 999_999_999, "wait=30"),
        ("wait=-1", False, None, ""),
        ("wait=soon; return=minimal", False, None, ""),
        ("return=minimal, respond-async; x, wait = 3", True, 3, "respond-async, wait=3"),
    ],
)
def test_preferences_are_read_as_the_standard_has_them(
    header: str, is_async: bool, wait_s: float | None, applied: str
) -> None:
    wish = Wish(header)
    assert (wish.is_async, wish.wait_s, wish.applied) == (is_async, wait_s, applied)


@pytest.mark.django_db
@pytest.mark.parametrize(("remaining_s", "expected"), [(0.2, 1), (20, 2), (45, 5), (100_000, 15)])
def test_when_to_ask_again_follows_from_the_time_left(remaining_s: float, expected: int) -> None:
    snapshot = moved(started(task_of()), 0.5, seq=2, remaining_s=remaining_s)
    assert retry_after_s(snapshot, now=snapshot.created_at) == expected


@pytest.mark.django_db
def test_when_to_ask_again_is_sooner_for_what_is_young() -> None:
    snapshot = task_of().snapshot
    waits = [retry_after_s(snapshot, now=snapshot.created_at + age_s) for age_s in (0, 15, 60, 10_000)]
    assert waits == [1, 2, 6, 15]
    assert (snapshot.state, snapshot.progress) == (State.QUEUED, Progress())
