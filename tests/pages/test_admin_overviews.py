"""The admin's pages beside the list: busy workers, and durations by name. What they read has a bound.

`tests/store/test_history.py` tests that they read it by an index.
"""

import html
import re
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from telltale import store
from telltale.admin import durations as durations_module
from telltale.admin import workers as workers_module
from telltale.admin.durations import Named, durations, percentile_95, round_up
from telltale.admin.plot import plot
from telltale.admin.workers import busy_workers
from telltale.core.states import State
from telltale.models import TaskState
from telltale.pages.durations import duration
from tests.factories import moved, person, task_of

pytestmark = pytest.mark.django_db

LIST = "/admin/telltale/taskstate/"
WORKERS, DURATIONS = f"{LIST}workers/", f"{LIST}durations/"


def staff_client(*codenames: str) -> Client:
    user = person(f"staff-{'-'.join(codenames)}", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames, content_type__app_label="telltale"))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def viewer(db: None) -> Client:
    return staff_client("view_taskstate")


def page_of(client: Client, url: str, **query: str) -> str:
    response = client.get(url, query)
    assert response.status_code == 200
    return html.unescape(response.content.decode())


def words_of(page: str) -> str:
    """The text of a page, in one line."""
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


def runs(worker: str, *, label: str = "Work", **more: Any) -> store.Claim:
    """A task that this worker runs."""
    claim = store.claim(task_id=task_of(label=label, **more).pk, worker=worker)
    assert isinstance(claim, store.Claim)
    return claim


def took(seconds: float, *, ended_at: float, name: str = "app.import", state: State = State.SUCCEEDED) -> UUID:
    """A task that ended then, after so long."""
    row = TaskState(runner="test", name=name, label="Work", state=state.value, created_at=ended_at - seconds - 1)
    row.started_at, row.ended_at = ended_at - seconds, ended_at
    row.save()
    return row.pk


# Workers


def test_busy_workers_are_listed_with_what_each_runs_and_links_to_it(viewer: Client) -> None:
    first, second = runs("web-1:12", label="Import"), runs("web-1:12", label="Export", queue_name="reports")
    moved(first, 0.42, seq=2)
    runs("web-2:7", label="Send letters")
    task_of(label="Waits")
    page = page_of(viewer, WORKERS)
    words = words_of(page)
    assert re.search(r"web-1 process 12 · thread · reports .*Import 42% · .*Export .*web-2 process 7", words), words
    for claim in (first, second):
        assert f'href="{LIST}{claim.id}/change/"' in page
    assert "3 running tasks" in words
    assert "Waits" not in words


def test_a_worker_without_contact_says_so_and_one_whose_lease_expired_is_gone(viewer: Client) -> None:
    now = store.now()
    silent, gone = runs("web-1:1"), runs("web-2:2")
    TaskState.objects.filter(pk=silent.id).update(beat_at=now - 60)
    TaskState.objects.filter(pk=gone.id).update(beat_at=now - 600, lease_until=now - 500)
    words = words_of(page_of(viewer, WORKERS))
    assert "web-1 process 1" in words
    assert "Lost contact with the worker" in words
    assert "web-2" not in words
    assert TaskState.objects.get(pk=gone.id).state == State.LOST


def test_without_running_tasks_the_page_says_so(viewer: Client) -> None:
    assert "No task is running." in page_of(viewer, WORKERS)


def test_workers_are_read_by_one_query_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers_module, "READ", 3)
    for number in range(5):
        runs(f"web:{number % 2}")
    with CaptureQueriesContext(connection) as statements:
        found = busy_workers(now=store.now())
    assert len(statements) == 1
    assert (found.tasks, found.is_complete) == (3, False)
    assert [worker.process for worker in found.workers] == ["0", "1"]


def test_of_a_worker_with_many_tasks_some_are_listed_and_the_others_counted(
    viewer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers_module, "LISTED", 2)
    for number in range(5):
        runs("web:1", label=f"Work {number}")
    words = words_of(page_of(viewer, WORKERS))
    assert "Work 1" in words
    assert "Work 2" not in words
    assert "and 3 more" in words


# Durations


def test_durations_have_the_median_and_the_95th_percentile_by_name(viewer: Client) -> None:
    now = store.now()
    for number in range(1, 101):
        took(number, ended_at=now - 10 * number)
    for state in (State.FAILED, State.LOST, State.CANCELLED):
        took(5_000, ended_at=now - 1, state=state)
    took(3, ended_at=now - 5, name="app.export")
    by_name = {named.name: named for named in durations().named}
    imports = by_name["app.import"]
    assert (imports.runs, imports.bad, imports.median_s) == (103, 2, 50.5)
    assert imports.p95_s == pytest.approx(95.05, abs=0.01)
    words = words_of(page_of(viewer, DURATIONS))
    assert "app.import 103 2 50 seconds 2 minutes" in words
    assert "app.export 1 0 3 seconds 3 seconds" in words
    assert "From 104 tasks that ended since" in words


def test_the_plot_has_a_table_of_the_same_values_and_no_script_or_inline_style(viewer: Client) -> None:
    now = store.now()
    for number in range(48):
        took(10 if number % 2 else 30, ended_at=now - 48_000 + 1_000 * number)
    page = page_of(viewer, DURATIONS, name="app.import")
    [svg] = re.findall(r'<div class="telltale-plot">.*?</div></div>', page, re.DOTALL)
    assert "style=" not in svg
    assert "<script" not in svg
    assert 'role="img" aria-label="app.import: Median and 95th percentile over time.' in svg
    [values] = re.findall(r'<details class="telltale-values">.*?</details>', page, re.DOTALL)
    rows = re.findall(r"<td>(\d+)</td><td>(.*?)</td><td>(.*?)</td>", values)
    assert len(rows) == durations_module.STEPS
    assert set(rows) == {("2", "20 seconds", "29 seconds")}
    [dots] = re.findall(r'telltale-median-dots" d="([^"]*)"', svg)
    heights = [float(y) for y in re.findall(r"M[\d.]+ ([\d.]+)h0", dots)]
    assert heights == [300 - 20 / 40 * 300] * len(rows), "20 s on an axis up to 40 s"


def test_the_period_and_the_name_can_be_chosen(viewer: Client) -> None:
    now = store.now()
    took(10, ended_at=now - 100_000)
    took(20, ended_at=now - 60, name="app.export")
    assert "app.import" in page_of(viewer, DURATIONS)
    lately = page_of(viewer, DURATIONS, ended="hour")
    assert "app.import" not in lately
    assert '<h2 id="telltale-chosen">app.export</h2>' in lately
    assert '<h2 id="telltale-chosen">app.import</h2>' in page_of(viewer, DURATIONS, name="app.import")
    assert page_of(viewer, DURATIONS, name="unknown", ended="x")


def test_without_tasks_or_without_success_the_page_says_so(viewer: Client) -> None:
    assert "No task has ended in this time." in page_of(viewer, DURATIONS)
    took(10, ended_at=store.now(), state=State.FAILED)
    assert "No run of this task succeeded in this time." in page_of(viewer, DURATIONS)


def test_hostile_names_are_escaped(viewer: Client) -> None:
    took(10, ended_at=store.now(), name='<script>alert("x")</script>')
    runs("<b>web</b>:1", label="<i>Work</i>")
    for url in (WORKERS, DURATIONS):
        text = viewer.get(url).content.decode()
        assert not re.search(r"<script>alert|<b>web|<i>Work", text)


def test_the_tasks_that_ended_last_are_read_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durations_module, "READ", 3)
    now = store.now()
    for number in range(5):
        took(10 * (number + 1), ended_at=now - 100 * number)
    with CaptureQueriesContext(connection) as statements:
        found = durations()
    assert len(statements) == 1
    assert (found.tasks, found.is_complete, found.since) == (3, False, pytest.approx(now - 200))
    assert sorted(found.named[0].durations_s) == pytest.approx([10, 20, 30])


@pytest.mark.parametrize("url", [WORKERS, DURATIONS])
def test_the_pages_are_for_staff_who_may_see_tasks_and_linked_from_the_list(viewer: Client, url: str) -> None:
    assert f'href="{url}"' in page_of(viewer, LIST)
    assert staff_client().get(url).status_code == 403
    assert Client().get(url).status_code == 302
    assert viewer.post(url).status_code == 405


# The arithmetic


@pytest.mark.parametrize(("value", "top"), [(0, 1), (0.3, 0.5), (1, 1), (1.1, 2), (20, 20), (21, 40), (1e9, 1e9)])
def test_the_top_of_an_axis_is_a_round_number_that_is_no_less(value: float, top: float) -> None:
    assert round_up(value) == pytest.approx(top)


@pytest.mark.parametrize(
    ("value", "top", "half"),
    [
        (50, "80 seconds", "40 seconds"),
        (95, "2 minutes", "60 seconds"),
        (180, "4 minutes", "2 minutes"),
        (450, "10 minutes", "5 minutes"),
        (4_000, "80 minutes", "40 minutes"),
        (5_000, "2 hours", "60 minutes"),
        (130_000, "2 days", "24 hours"),
    ],
)
def test_the_words_of_an_axis_say_exactly_where_they_stand(value: float, top: str, half: str) -> None:
    assert (duration(round_up(value)), duration(round_up(value) / 2)) == (top, half)


def test_runs_that_ended_at_one_moment_are_one_step_and_are_drawn() -> None:
    named = Named(name="n", runs=2, ended=[(1_000.0, 5.0), (1_000.0, 7.0)])
    [step] = named.steps
    assert (step.runs, step.median_s) == (2, 6.0)
    assert "nan" not in plot(named.steps, title="t").lower()
    assert percentile_95([4.0]) == 4.0


def test_each_run_is_in_one_step() -> None:
    named = Named(name="n", ended=[(float(number), 1.0) for number in range(1_001)])
    assert sum(step.runs for step in named.steps) == 1_001
    assert len(named.steps) == durations_module.STEPS
