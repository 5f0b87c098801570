"""Staff see other people's tasks by permission, live, and act on them; a hook of the site lets other visitors act."""

from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.http import HttpRequest
from django.test import Client

import telltale
from telltale import store
from telltale.core.states import State
from telltale.core.topics import task_topic, user_topic
from telltale.models import StoredNotice, TaskState
from telltale.pages.permissions import followable, may_act, may_see
from tests.factories import asked_by, ended, person, started, task_of, unknown_id

pytestmark = pytest.mark.django_db

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


def staff(name: str, *permissions: str, **more: Any) -> Any:
    """A staff user with these permissions, such as "view"."""
    user = person(name, **({"is_staff": True} | more))
    codenames = [f"{permission}_taskstate" for permission in permissions]
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames, content_type__app_label="telltale"))
    return user


def signed_in(user: Any) -> Client:
    client = Client()
    client.force_login(user)
    return client


def page(client: Client, task: TaskState) -> Any:
    return client.get(f"/telltale/tasks/{task.pk}/", headers={"Accept": BROWSER})


def act(client: Client, task: TaskState, action: str) -> Any:
    return client.post(f"/telltale/tasks/{task.pk}/{action}/", headers={"Accept": "application/json"})


def stored(task: TaskState) -> TaskState:
    row = store.get_task(task.pk)
    assert row is not None
    return row


@telltale.tracked
def add() -> None:
    """A task of this process."""


def may_cancel_only(request: HttpRequest, topic: str, action: str) -> bool:
    """The hook of a site whose visitors may cancel what they may follow."""
    return action == "cancel" and topic.startswith("task:")


def test_staff_with_the_permission_see_another_persons_task_and_follow_it_live() -> None:
    task = task_of(person("ada"))
    sam = staff("sam", "view")
    response = page(signed_in(sam), task)
    assert (response.status_code, task.label in response.content.decode()) == (200, True)
    granted = signed_in(sam).post("/telltale/ticket/", {"topics": [task_topic(task.pk)]}, "application/json")
    assert granted.json()["topics"] == [task_topic(task.pk)]


def test_staff_follow_tasks_that_exist_and_no_other_persons_topics() -> None:
    ada, sam = person("ada"), staff("sam", "view")
    theirs, mine = task_of(ada), task_of(sam)
    topics = [user_topic(ada.pk), task_topic(theirs.pk), task_topic(unknown_id()), task_topic(mine.pk), "project:7"]
    assert followable(asked_by(sam), topics) == [task_topic(theirs.pk), task_topic(mine.pk)]


@pytest.mark.parametrize(
    ("is_staff", "is_active", "permissions"),
    [(True, True, ["cancel", "retry", "terminate"]), (False, True, ["view", "cancel"]), (True, False, ["view"])],
    ids=["staff without the permission to view", "no staff", "a disabled account"],
)
def test_s15_other_visitors_get_the_answer_of_a_missing_task(
    is_staff: bool, is_active: bool, permissions: list[str]
) -> None:
    task = task_of(person("ada"))
    sam = staff("sam", *permissions, is_staff=is_staff, is_active=is_active)
    assert followable(asked_by(sam), [task_topic(task.pk)]) == []
    assert not may_see(asked_by(sam), task)
    client = signed_in(sam)
    missing = client.get(f"/telltale/tasks/{unknown_id()}/", headers={"Accept": "application/json"})
    answers = [client.get(f"/telltale/tasks/{task.pk}/", headers={"Accept": "application/json"})]
    answers += [act(client, task, action) for action in ("cancel", "retry")]
    assert {(answer.status_code, answer.content) for answer in answers} == {(404, missing.content)}
    assert stored(task).state == "queued"


def test_s19_staff_cancel_another_persons_task_only_with_the_permission() -> None:
    task = task_of(person("ada"))
    viewer, canceller = signed_in(staff("vic", "view")), signed_in(staff("cora", "view", "cancel"))
    assert 'class="telltale-cancel"' not in page(viewer, task).content.decode()
    assert act(viewer, task, "cancel").status_code == 404
    assert stored(task).state == "queued"
    assert 'class="telltale-cancel"' in page(canceller, task).content.decode()
    assert act(canceller, task, "cancel").json()["state"] == "cancelled"
    assert act(canceller, task, "retry").status_code == 404


def test_a_task_that_staff_run_again_stays_its_owners() -> None:
    ada = person("ada")
    task = task_of(ada, args=(), kwargs={})
    TaskState.objects.filter(pk=task.pk).update(name=f"{add.__module__}.{add.__name__}")
    ended(started(task), State.FAILED, error="No")
    response = act(signed_in(staff("sam", "view", "retry")), task, "retry")
    assert (response.status_code, stored(task).attempt, stored(task).owner) == (202, 2, ada)


def test_staff_that_look_at_a_task_take_no_notice_from_its_owner() -> None:
    task = task_of(person("ada"))
    ended(started(task))
    assert page(signed_in(staff("sam", "view")), task).status_code == 200
    assert StoredNotice.objects.get(task=task).shown_at is None


def test_staff_do_not_get_what_a_task_returned() -> None:
    task = task_of(person("ada"))
    ended(started(task), return_json='"secret"')
    response = signed_in(staff("sam", "view")).get(f"/telltale/tasks/{task.pk}/", headers={"Accept": "*/*"})
    assert "secret" not in response.content.decode()


def test_the_sites_hook_lets_visitors_act_on_tasks_that_they_may_follow(settings: Any) -> None:
    settings.TELLTALE = settings.TELLTALE | {"CAN_ACT": f"{__name__}.may_cancel_only"}
    task, grace = task_of(person("ada")), person("grace")
    assert not may_act(asked_by(grace), task, "cancel"), "it may not be followed"
    settings.TELLTALE = settings.TELLTALE | {"CAN_FOLLOW": "tests.pages.test_permissions.shares_everything"}
    assert may_act(asked_by(grace), task, "cancel")
    assert not may_act(asked_by(grace), task, "retry")
    assert act(signed_in(grace), task, "cancel").json()["state"] == "cancelled"
