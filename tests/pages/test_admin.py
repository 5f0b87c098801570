"""The admin: a live list of tasks with words, counts, filters, search and actions; and the story of each task."""

import html
import re
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from telltale import conf, store
from telltale.admin.health import stalled, with_health
from telltale.core.health import health
from telltale.core.states import Health, State
from telltale.models import TaskState
from telltale.runners.threads import ThreadRunner
from tests.factories import ended, moved, person, started, task_of

pytestmark = pytest.mark.django_db

LIST = "/admin/telltale/taskstate/"


class TerminatingRunner(ThreadRunner):
    """A runner that can end a run by force."""

    name = "terminating"
    terminated: list[str] = []

    def terminate(self, task: object, runner_id: str) -> None:
        """Note the run."""
        self.terminated.append(runner_id)


@pytest.fixture
def ada() -> Any:
    return person("ada")


def staff_client(*permissions: str) -> Client:
    """A signed-in staff user with these permissions, and that to view."""
    user = person(f"staff-{'-'.join(permissions)}", is_staff=True)
    codenames = [f"{permission}_taskstate" for permission in ("view", *permissions)]
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames, content_type__app_label="telltale"))
    client = Client()
    client.force_login(user)
    return client


def text_of(response: Any) -> str:
    assert response.status_code == 200
    return html.unescape(response.content.decode())


def listed(response: Any) -> list[str]:
    """The ids of the tasks in the list, sorted."""
    return sorted(re.findall(r'<task-progress task="([^"]+)"', text_of(response)))


def ids_of(*tasks: TaskState) -> list[str]:
    return sorted(str(task.pk) for task in tasks)


def state_of(task: TaskState) -> str:
    return TaskState.objects.get(pk=task.pk).state


def act(client: Client, task: TaskState, action: str, **more: Any) -> Any:
    return client.post(f"{LIST}{task.pk}/act/{action}/", more)


def bulk(client: Client, action: str, *tasks: TaskState) -> str:
    """The page after a bulk action, with its messages."""
    data = {"action": action, "_selected_action": [str(task.pk) for task in tasks]}
    return text_of(client.post(LIST, data, follow=True))


# The list


def test_the_list_has_words_a_live_bar_and_a_link_to_the_live_page(ada: Any) -> None:
    task = task_of(ada)
    claim = started(task)
    moved(claim, 0.25, seq=2)
    page = text_of(staff_client().get(LIST))
    assert f'<task-progress task="{task.pk}"' in page
    assert f'href="/telltale/tasks/{task.pk}/"' in page
    assert 'id="telltale-page"' in page
    assert "telltale/elements.js" in page
    assert "Working" in page
    ended(claim, State.FAILED, error="The file is empty.", detail="Traceback\nValueError: empty file\n")
    page = text_of(staff_client("cancel").get(LIST))
    assert "The file is empty." in page
    assert "ValueError: empty file" in page
    assert "w1" in page
    assert "ada" in page


def test_the_top_counts_running_stalled_and_recently_failed_tasks_and_links_to_them(ada: Any) -> None:
    now = store.now()
    for _number in range(2):
        started(task_of(ada))
    silent = task_of(ada)
    started(silent)
    TaskState.objects.filter(pk=silent.pk).update(beat_at=now - 50)
    failed, old = task_of(ada), task_of(ada)
    ended(started(failed), State.FAILED)
    ended(started(old), State.FAILED)
    TaskState.objects.filter(pk=old.pk).update(ended_at=now - 4_000)
    client = staff_client()
    page = text_of(client.get(LIST))
    counts = dict(re.findall(r'data-count="(\w+)"><a href="[^"]*"><strong>(\d+)', page))
    assert counts == {"running": "3", "stalled": "1", "failed": "1"}
    links = dict(re.findall(r'data-count="(\w+)"><a href="([^"]*)"', page))
    assert len(listed(client.get(links["running"]))) == 3
    assert listed(client.get(links["stalled"])) == ids_of(silent)
    assert listed(client.get(links["failed"])) == ids_of(failed)


def test_filters_find_tasks_by_state_owner_label_runner_and_name(ada: Any) -> None:
    grace = person("grace")
    waiting, running = task_of(ada, label="Export"), task_of(grace)
    started(running)
    client = staff_client()
    assert listed(client.get(LIST, {"state": "queued"})) == ids_of(waiting)
    assert listed(client.get(LIST, {"state": "running"})) == ids_of(running)
    assert listed(client.get(LIST, {"owner_id": grace.pk})) == ids_of(running)
    assert listed(client.get(LIST, {"label": "Export"})) == ids_of(waiting)
    assert listed(client.get(LIST, {"runner": "thread", "name": "tests.app.nothing"})) == ids_of(waiting, running)
    assert listed(client.get(LIST, {"runner": "rq"})) == []
    on_reports = task_of(ada, queue_name="reports")
    assert listed(client.get(LIST, {"queue": "reports"})) == ids_of(on_reports)
    assert '"?queue=reports"' in text_of(client.get(LIST))
    page = text_of(client.get(LIST))
    for words in ("Waiting to start", "Lost contact with the worker", "In the last hour", "grace", "Export"):
        assert words in page


@pytest.mark.parametrize(
    "query",
    [
        *({"state": "x"}, {"health": "x"}, {"ended": "x"}, {"label": "%00"}, {"label": "a\0b"}, {"queue": "\0"}),
        *({"owner_id": "x"}, {"owner_id": "9" * 9}, {"owner_id": "9" * 30}, {"owner_id": "-1"}, {"owner_id": "\0"}),
    ],
)
def test_a_malformed_filter_is_no_error(ada: Any, query: dict[str, str]) -> None:
    task_of(ada)
    assert staff_client().get(LIST, query).status_code == 200


def test_search_finds_tasks_by_id_label_and_key(ada: Any) -> None:
    first = task_of(ada, label="Export of invoices", key="export-7")
    second = task_of(ada)
    client = staff_client()
    assert listed(client.get(LIST, {"q": str(second.pk)})) == ids_of(second)
    assert listed(client.get(LIST, {"q": second.pk.hex})) == ids_of(second)
    assert listed(client.get(LIST, {"q": "invoices"})) == ids_of(first)
    assert listed(client.get(LIST, {"q": "export-7"})) == ids_of(first)


def test_the_filters_of_health_agree_with_the_rule(ada: Any) -> None:
    now, limits = store.now(), conf.settings().limits
    for beat_s in (0, 44, 46, None):
        for moved_s in (0, 59, 61, None):
            for usual in (None, [5, 20], [50, 500]):
                task = task_of(ada)
                started(task)
                TaskState.objects.filter(pk=task.pk).update(
                    started_at=now - 100,
                    beat_at=None if beat_s is None else now - beat_s,
                    moved_at=None if moved_s is None else now - moved_s,
                    usual_s=usual,
                )
    rows = list(TaskState.objects.all())
    by_rule = {kind: {r.pk for r in rows if health(r.snapshot, now=now, limits=limits) is kind} for kind in Health}
    assert all(by_rule.values())
    assert {
        k: {r.pk for r in with_health(TaskState.objects.all(), k, now=now, limits=limits)} for k in Health
    } == by_rule
    found = TaskState.objects.filter(stalled(now=now, limits=limits))
    assert {row.pk for row in found} == by_rule[Health.STALLED]


def test_failures_are_counted_up_to_a_bound(ada: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("newest", "tasks"):
        monkeypatch.setattr(f"telltale.admin.{module}.COUNTED", 2)
    for _number in range(4):
        ended(started(task_of(ada)), State.FAILED)
    assert "<strong>2+</strong> failed in the last hour" in text_of(staff_client().get(LIST))


def test_the_list_has_what_ended_last_and_a_search_finds_the_rest(ada: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("telltale.admin.newest.LISTED", 2)
    now, tasks = store.now(), [task_of(ada, label=f"Work {number}") for number in range(4)]
    for number, task in enumerate(tasks):
        ended(started(task))
        TaskState.objects.filter(pk=task.pk).update(ended_at=now - 1_000 * (number + 1))
    waiting = task_of(ada, label="Work 5")
    client = staff_client()
    assert listed(client.get(LIST)) == ids_of(waiting, *tasks[:2])
    assert listed(client.get(LIST, {"owner_id": ada.pk})) == ids_of(waiting, *tasks[:2])
    assert listed(client.get(LIST, {"ended": "hour"})) == ids_of(*tasks[:2])
    assert listed(client.get(LIST, {"q": "Work"})) == ids_of(waiting, *tasks)
    assert listed(client.get(LIST, {"q": "Work", "ended": "hour"})) == ids_of(*tasks[:3])


def test_more_tasks_cost_the_list_no_more_queries(ada: Any) -> None:
    client = staff_client("cancel", "retry", "terminate")
    task_of(ada)
    client.get(LIST)
    with CaptureQueriesContext(connection) as few:
        client.get(LIST)
    for _number in range(10):
        task_of(ada)
    with CaptureQueriesContext(connection) as many:
        client.get(LIST)
    assert len(many) == len(few), many.captured_queries[-3:]


# Actions


@pytest.mark.parametrize(
    ("permission", "action", "name"),
    [
        ("cancel", "cancel_tasks", "cancel"),
        ("retry", "retry_tasks", "retry"),
        ("terminate", "terminate_tasks", "terminate"),
    ],
)
def test_an_action_needs_its_permission(ada: Any, settings: Any, permission: str, action: str, name: str) -> None:
    settings.TELLTALE = settings.TELLTALE | {"RUNNERS": ["thread", f"{__name__}.TerminatingRunner"]}
    task = task_of(ada)
    TaskState.objects.update(runner="terminating", name="tests.app.tasks.add")
    others = {"cancel", "retry", "terminate"} - {permission}
    client = staff_client(*others)
    page = text_of(client.get(LIST))
    assert f'<option value="{action}">' not in page
    assert f'data-action="{name}"' not in page
    assert act(client, task, name).status_code == 403
    assert state_of(task) == "queued"


def test_s19_viewers_have_neither_actions_nor_buttons(ada: Any) -> None:
    task_of(ada)
    page = text_of(staff_client().get(LIST))
    assert 'name="action"' not in page
    assert "data-action" not in page


def test_cancel_as_a_button_and_as_an_action_and_who_did_it_is_recorded(ada: Any) -> None:
    one, two, three = task_of(ada), task_of(ada), task_of(ada)
    client = staff_client("cancel")
    response = act(client, one, "cancel", next=f"{LIST}?state=queued")
    assert (response.status_code, response["Location"]) == (302, f"{LIST}?state=queued")
    assert "Asked 2 tasks to stop" in bulk(client, "cancel_tasks", two, three)
    assert [state_of(task) for task in (one, two, three)] == ["cancelled"] * 3
    entries = LogEntry.objects.order_by("pk")
    assert {entry.user.username for entry in entries} == {"staff-cancel"}
    assert sorted(str(entry.object_id) for entry in entries) == ids_of(one, two, three)


def test_the_admin_refuses_what_the_pages_refuse_and_says_why(ada: Any) -> None:
    done, busy = task_of(ada), task_of(ada, label="Charge cards")
    ended(started(done))
    started(busy)
    TaskState.objects.filter(pk=busy.pk).update(no_cancel="Cards are being charged.")
    client = staff_client("cancel", "retry")
    page = bulk(client, "cancel_tasks", done, busy)
    assert "This task has already ended" in page
    assert "Charge cards: This task can't be stopped now: Cards are being charged." in page
    assert not TaskState.objects.get(pk=busy.pk).cancel_requested
    assert "Only a task that failed" in bulk(client, "retry_tasks", busy)
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize("label", [" ", "\u200b"])
def test_a_task_without_a_visible_label_is_named_after_its_function(ada: Any, label: str) -> None:
    task = task_of(ada, label=label)
    client = staff_client("cancel")
    assert 'Stop<span class="visually-hidden">: Nothing</span>' in text_of(client.get(LIST))
    assert 'details<span class="visually-hidden">: Nothing</span>' in text_of(client.get(LIST))
    assert "Nothing (queued)" in text_of(client.get(f"{LIST}{task.pk}/change/"))
    ended(started(task))
    assert "Nothing: This task has already ended" in bulk(client, "cancel_tasks", task)


def test_force_needs_a_runner_that_can(ada: Any, settings: Any, django_capture_on_commit_callbacks: Any) -> None:
    task = task_of(ada)
    started(task)
    client = staff_client("terminate")
    assert "The runner of this task can't force it to stop." in bulk(client, "terminate_tasks", task)
    assert not TaskState.objects.get(pk=task.pk).cancel_requested
    settings.TELLTALE = settings.TELLTALE | {"RUNNERS": ["thread", f"{__name__}.TerminatingRunner"]}
    TaskState.objects.filter(pk=task.pk).update(runner="terminating", runner_id="r1")
    assert 'data-action="terminate"' in text_of(client.get(LIST))
    TerminatingRunner.terminated.clear()
    with django_capture_on_commit_callbacks(execute=True):
        act(client, task, "terminate")
    assert TaskState.objects.get(pk=task.pk).cancel_requested
    assert TerminatingRunner.terminated == ["r1"]


def test_a_bulk_action_has_a_bound(ada: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("telltale.admin.acting.AT_ONCE", 2)
    tasks = [task_of(ada) for _number in range(3)]
    assert "At most 2 tasks can be changed at once" in bulk(staff_client("cancel"), "cancel_tasks", *tasks)
    assert {state_of(task) for task in tasks} == {"queued"}


def test_a_button_is_a_post_for_known_actions_and_returns_to_this_site_only(ada: Any) -> None:
    task, client = task_of(ada), staff_client("cancel")
    assert client.get(f"{LIST}{task.pk}/act/cancel/").status_code == 405
    assert act(client, task, "delete").status_code == 403
    assert Client().post(f"{LIST}{task.pk}/act/cancel/").status_code == 302
    assert state_of(task) == "queued"
    assert act(client, task, "cancel", next="https://evil.example/")["Location"] == LIST


# The story of a task


def test_the_story_has_attempts_times_messages_error_traceback_and_owner(ada: Any) -> None:
    task = task_of(ada)
    ended(started(task), State.FAILED, error="First failure", detail="Traceback <b>\nValueError: x\n")
    store.requeue(task.pk)
    claim = started(task)
    moved(claim, 0.5, seq=2)
    ended(claim, State.FAILED, error="Second failure", detail="Traceback <b>\nKeyError: y\n")
    response = staff_client().get(f"{LIST}{task.pk}/change/")
    assert '<pre class="telltale-pre" tabindex="0">Traceback &lt;b&gt;' in response.content.decode()
    page = text_of(response)
    for words in ("Queued", "Attempt 2 began, worker w1", "First failure", "Second failure", "KeyError: y", "ada"):
        assert words in page
    assert "50 of 100" in page
    assert re.findall(r"Attempt \d: \w+", page) == ["Attempt 1: Failed", "Attempt 2: Failed"]
    assert "<code>ValueError: x</code>" in page


def test_the_picture_has_a_lane_for_each_attempt_that_needs_no_script_and_no_inline_style(ada: Any) -> None:
    now, task = store.now(), task_of(ada)
    TaskState.objects.filter(pk=task.pk).update(created_at=now - 100)
    store.claim(task_id=task.pk, worker="w1", now=now - 90)
    store.end(task.pk, 1, State.FAILED, now=now - 50)
    store.claim(task_id=task.pk, worker="w2", now=now - 40)
    store.end(task.pk, 2, State.SUCCEEDED, now=now)
    page = text_of(staff_client().get(f"{LIST}{task.pk}/change/"))
    [picture] = re.findall(r'<div class="telltale-lanes" aria-hidden="true">.*?</div></div>', page, re.DOTALL)
    bars = re.findall(r'<rect class="telltale-(\w+)" x="([\d.]+)" y="[\d.]+" width="([\d.]+)"', picture)
    assert bars == [
        *(("waited", "0.0", "100.0"), ("bad", "100.0", "400.0")),
        *(("waited", "500.0", "100.0"), ("ok", "600.0", "400.0")),
    ]
    assert "style=" not in picture
    assert "<script" not in picture


def test_the_story_has_the_stages_with_bars_that_share_one_scale(ada: Any) -> None:
    task, client = task_of(ada), staff_client()
    address = f"{LIST}{task.pk}/change/"
    assert "telltale-stages" not in text_of(client.get(address))
    stages = [["<b>Reading</b>", 1, 30.0], ["Saving", 1_200, 120.0], ["", 7, 0.0]]
    store.end(task.pk, started(task).attempt, State.FAILED, stage_times=stages)
    page = client.get(address).content.decode()
    [table] = re.findall(r'<table class="telltale-story telltale-stages">.*?</table>', page, re.DOTALL)
    rows = re.findall(r'<th scope=row>(.*?)</th>.*?width="(\d+)" height.*?</svg>(.*?)</td>', table)
    assert rows == [
        ("&lt;b&gt;Reading&lt;/b&gt;", "250", "30 seconds"),
        ("Saving", "1000", "2 minutes · 1,200 times"),
        ("Other stages", "0", "less than a second · 7 times"),
    ]


def test_the_owner_is_a_link_for_staff_who_may_see_users(ada: Any) -> None:
    task = task_of(ada)
    root = person("root", is_staff=True, is_superuser=True)
    client = Client()
    client.force_login(root)
    link = f'href="/admin/auth/user/{ada.pk}/change/"'
    assert link in text_of(client.get(f"{LIST}{task.pk}/change/"))
    assert link not in text_of(staff_client().get(f"{LIST}{task.pk}/change/"))


def test_the_story_has_the_return_value(ada: Any) -> None:
    task = task_of(ada)
    ended(started(task), return_json='{"rows": 7}')
    assert '{"rows": 7}' in text_of(staff_client().get(f"{LIST}{task.pk}/change/"))


def hide_all(task: TaskState, arguments: dict[str, Any]) -> None:
    """A site that shows no arguments."""


def first_only(task: TaskState, arguments: dict[str, Any]) -> dict[str, Any]:
    """A site that shows the first argument."""
    return {"args": arguments["args"][:1], "kwargs": {}}


def test_s23_arguments_are_shown_without_secrets_and_as_the_site_wants(ada: Any, settings: Any) -> None:
    task = task_of(ada, args=["file-1", {"password": "hunter2"}], kwargs={"api_token": "t0p", "limit": 7})
    client = staff_client()

    def page() -> str:
        return text_of(client.get(f"{LIST}{task.pk}/change/"))

    assert "file-1" in page()
    assert '"limit": 7' in page()
    assert "hunter2" not in page()
    assert "t0p" not in page()
    settings.TELLTALE = settings.TELLTALE | {"SHOWN_ARGUMENTS": f"{__name__}.first_only"}
    assert "file-1" in page()
    assert '"limit"' not in page()
    settings.TELLTALE = settings.TELLTALE | {"SHOWN_ARGUMENTS": f"{__name__}.hide_all"}
    assert "Hidden by a setting" in page()
    assert "file-1" not in page()
