"""`FollowedAdminMixin`: a bulk action of a site's own list is a followed task, with its bar above the list."""

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, Permission
from django.test import Client
from django.urls import include, path

import telltale
from telltale.admin import FollowedAdminMixin
from telltale.core.states import State
from telltale.models import TaskState
from tests.factories import ended, person, started

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]

LIST = "/admin/auth/group/"


@telltale.tracked(label="Send letters")
def send_letters(ids: list[int]) -> None:
    """The task of the action."""


class GroupAdmin(FollowedAdminMixin, admin.ModelAdmin):  # type: ignore[type-arg]
    """A list of the site's own."""

    followed_actions = [send_letters]
    followed_limit = 3


site = admin.AdminSite()
site.register(Group, GroupAdmin)
urlpatterns = [path("admin/", site.urls), path("telltale/", include("telltale.urls"))]


def client_of(name: str, *permissions: str) -> Client:
    user = person(name, is_staff=True)
    codenames = [f"{permission}_group" for permission in permissions]
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames, content_type__app_label="auth"))
    client = Client()
    client.force_login(user)
    return client


def start(client: Client, count: int = 2) -> Any:
    """The page after the action for new groups."""
    groups = [Group.objects.create(name=f"group {number}") for number in range(count)]
    data = {"action": "followed_0", "_selected_action": [str(group.pk) for group in groups]}
    return client.post(LIST, data, follow=True)


def test_an_action_starts_a_task_with_the_selected_keys_and_its_bar_is_above_the_list() -> None:
    client = client_of("sam", "view", "change")
    Group.objects.create(name="not selected")
    assert '<option value="followed_0">Send letters</option>' in client.get(LIST).content.decode()
    page = start(client).content.decode()
    task = TaskState.objects.get()
    selected = Group.objects.exclude(name="not selected").values_list("pk", flat=True)
    assert sorted(task.call["args"][0]) == sorted(selected)
    assert (task.owner.username, task.label) == ("sam", "Send letters")  # type: ignore[union-attr]
    assert f'<task-progress task="{task.pk}"' in page
    assert 'id="telltale-page"' in page


def test_the_bar_stays_until_it_was_shown_ended_and_on_its_own_list_alone() -> None:
    client = client_of("sam", "view", "change")
    start(client)
    task = TaskState.objects.get()
    assert str(task.pk) in client.get(LIST).content.decode()
    assert str(task.pk) not in client_of("grace", "view", "change").get(LIST).content.decode()
    ended(started(task), State.SUCCEEDED)
    assert str(task.pk) in client.get(LIST).content.decode()
    assert str(task.pk) not in client.get(LIST).content.decode()


def test_an_action_needs_the_permission_to_change() -> None:
    client = client_of("vic", "view")
    assert "followed_0" not in client.get(LIST).content.decode()
    start(client)
    assert not TaskState.objects.exists()


def test_more_rows_than_the_limit_start_nothing() -> None:
    page = start(client_of("sam", "view", "change"), count=4).content.decode()
    assert "At most 3 rows can be selected" in page
    assert not TaskState.objects.exists()


def test_a_task_that_was_deleted_is_not_shown() -> None:
    client = client_of("sam", "view", "change")
    start(client)
    task = TaskState.objects.get()
    TaskState.objects.all().delete()
    assert client.get(LIST).status_code == 200
    assert str(task.pk) not in client.get(LIST).content.decode()
