"""What happened to a task, on its own page: each attempt with its times and how it ended, without private things."""

import html
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from telltale import store
from telltale.core.states import State
from telltale.models import TaskState
from telltale.pages.timeline import attempts_of, moments, phase
from tests.factories import ended, person, started, task_of, unknown_id

pytestmark = pytest.mark.django_db

WORKER, SECRET = "host-of-the-site:4711", "postgres://root:hunter2@db/"


def claimed(task: TaskState, now: float) -> store.Claim:
    claim = store.claim(task_id=task.pk, worker=WORKER, now=now)
    assert isinstance(claim, store.Claim)
    return claim


def lines_of(task: TaskState) -> list[tuple[str, str, str]]:
    return [(line.title, line.detail, line.error) for line in moments(TaskState.objects.get(pk=task.pk))]


def page_of(client: Client, task: TaskState) -> str:
    response = client.get(f"/telltale/tasks/{task.pk}/", headers={"Accept": "text/html"})
    assert response.status_code == 200
    return html.unescape(response.content.decode())


def timeline_of(client: Client, task: TaskState) -> Any:
    return client.get(f"/telltale/tasks/{task.pk}/timeline/").json()


def waiting(task: TaskState, now: float) -> list[tuple[str, str, str]]:
    return [("Queued", "", "")]


def running(task: TaskState, now: float) -> list[tuple[str, str, str]]:
    claimed(task, now + 3)
    return [("Queued", "", ""), ("Working", "waited 3 seconds", "")]


def stopping(task: TaskState, now: float) -> list[tuple[str, str, str]]:
    claimed(task, now + 3)
    store.request_cancel(task.pk)
    return [("Queued", "", ""), ("Stopping…", "waited 3 seconds", "")]


def done(task: TaskState, now: float) -> list[tuple[str, str, str]]:
    claimed(task, now)
    store.end(task.pk, 1, State.SUCCEEDED, now=now + 37)
    return [("Queued", "", ""), ("Done", "took 37 seconds", "")]


def never_begun(task: TaskState, now: float) -> list[tuple[str, str, str]]:
    store.request_cancel(task.pk, now=now + 5)
    return [("Queued", "", ""), ("Stopped", "", "")]


def retrying(task: TaskState, now: float) -> list[tuple[str, str, str]]:
    claimed(task, now)
    store.set_retrying(task.pk, 1, error="No connection", now=now + 4)
    return [
        ("Queued", "", ""),
        ("Attempt 1: Failed", "ran for 4 seconds", "No connection"),
        ("Attempt 2: Waiting to start", "", ""),
    ]


def again(task: TaskState, now: float) -> list[tuple[str, str, str]]:
    claimed(task, now)
    store.expire([task.pk], now=now + 1_000)
    store.requeue(task.pk, now=now + 2_000)
    claimed(task, now + 2_006)
    store.end(task.pk, 2, State.SUCCEEDED, now=now + 2_016)
    return [
        ("Queued", "", ""),
        ("Attempt 1: Interrupted before it finished", "ran for 17 minutes", ""),
        ("Attempt 2: Done", "waited 6 seconds · took 10 seconds", ""),
    ]


def redelivered(task: TaskState, now: float) -> list[tuple[str, str, str]]:
    claim = claimed(task, now)
    store.save([store.Report(id=task.pk, attempt=1, seq=3, progress=claim.snapshot.progress)], now=now + 20)
    claimed(task, now + 25)
    return [
        ("Queued", "", ""),
        ("Attempt 1: Interrupted before it finished", "ran for 20 seconds", ""),
        ("Attempt 2: Working", "waited 5 seconds", ""),
    ]


def continued(task: TaskState, now: float) -> list[tuple[str, str, str]]:
    claim = claimed(task, now)
    store.expire([task.pk], now=now + 1_000)
    store.take_back(claim, now=now + 1_010)
    store.end(task.pk, 2, State.SUCCEEDED, now=now + 1_030)
    return [
        ("Queued", "", ""),
        ("Attempt 1: Lost contact with the worker", "ran for 17 minutes", ""),
        ("Attempt 2: Done", "the worker was in contact again and continued · took 20 seconds", ""),
    ]


@pytest.mark.parametrize(
    "happens", [waiting, running, stopping, done, never_begun, retrying, again, redelivered, continued]
)
def test_the_timeline_has_each_attempt_with_its_times_and_how_it_ended(
    ada: Any, happens: Callable[[TaskState, float], list[tuple[str, str, str]]]
) -> None:
    now = store.now()
    task = task_of(ada, now=now)
    expected = happens(task, now)
    assert lines_of(task) == expected


def test_attempts_that_are_no_longer_kept_are_counted(ada: Any) -> None:
    task = task_of(ada)
    for _number in range(13):
        ended(started(task), State.FAILED)
    titles = [line.title for line in moments(TaskState.objects.get(pk=task.pk))]
    assert titles[:3] == ["Queued", "2 earlier attempts are not listed", "Attempt 3: Failed"]
    assert titles[-1] == "Attempt 13: Failed"


def test_the_page_has_the_timeline_without_scripts_and_its_script_gets_the_same(ada: Any, signed_in: Client) -> None:
    task = task_of(ada)
    ended(started(task), State.FAILED, error="The file <b>is</b> empty.")
    store.requeue(task.pk)
    started(task)
    page, timeline = page_of(signed_in, task), timeline_of(signed_in, task)
    titles = re.findall(r'<li class="telltale-moment" kind="\w+">\s*<p>(.*?)</p>', page)
    assert titles == [line["title"] for line in timeline["moments"]]
    assert titles[1:] == ["Attempt 1: Failed", "Attempt 2: Working"]
    assert "The file <b>is</b> empty." in page
    assert "<b>is</b>" not in signed_in.get(f"/telltale/tasks/{task.pk}/", headers={"Accept": "text/html"}).text
    assert f'phase="{timeline["phase"]}"' in page
    assert len(re.findall(r"<time datetime=", page)) >= 4


def test_the_timeline_shows_neither_workers_nor_exceptions(ada: Any, signed_in: Client) -> None:
    task = task_of(ada)
    for _number in range(2):
        claim = claimed(task, store.now())
        ended(claim, State.FAILED, error="It broke.", detail=f"Traceback\nOperationalError: {SECRET}")
    assert attempts_of(TaskState.objects.get(pk=task.pk))[0].worker == WORKER
    for text in (page_of(signed_in, task), json.dumps(timeline_of(signed_in, task))):
        assert "Attempt 1: Failed" in text
        assert WORKER not in text
        assert SECRET not in text


def test_the_timeline_of_another_persons_task_is_not_found(ada: Any) -> None:
    client = Client()
    client.force_login(person("eve"))
    task = task_of(ada)
    missing = client.get(f"/telltale/tasks/{unknown_id()}/timeline/")
    foreign = client.get(f"/telltale/tasks/{task.pk}/timeline/")
    assert (foreign.status_code, foreign.content) == (404, missing.content)


def test_the_phase_changes_with_the_attempt_the_state_and_a_request_to_stop(ada: Any) -> None:
    task = task_of(ada)
    phases = [phase(TaskState.objects.get(pk=task.pk).snapshot)]
    claim = started(task)
    phases.append(phase(TaskState.objects.get(pk=task.pk).snapshot))
    store.request_cancel(task.pk)
    phases.append(phase(TaskState.objects.get(pk=task.pk).snapshot))
    ended(claim, State.CANCELLED)
    store.requeue(task.pk)
    phases.append(phase(TaskState.objects.get(pk=task.pk).snapshot))
    assert phases == ["1 queued 0", "1 running 0", "1 running 1", "2 queued 0"]
