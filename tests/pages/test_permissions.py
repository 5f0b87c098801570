"""Permissions: a visitor sees their own tasks; the site's hook may share others."""

from typing import Any

import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.http import HttpRequest
from pytest_django import DjangoAssertNumQueries

from telltale.core.topics import session_topic, task_topic, user_topic
from telltale.live import tickets
from telltale.owners import Owner, session_digest
from telltale.pages.permissions import followable, is_owner, may_see, page_ticket
from tests.factories import asked_by, person, task_of, unknown_id

pytestmark = pytest.mark.django_db


def shares_projects(request: HttpRequest, topic: str) -> bool:
    """The hook of the test's site."""
    return topic == "project:7" or topic in getattr(request, "shared", ())


def shares_everything(request: Any, topic: str) -> bool:
    """The hook of a site that hides nothing."""
    return True


def test_a_visitor_may_follow_their_own_topic_and_tasks_and_no_others() -> None:
    ada, grace = person("ada"), person("grace")
    mine, theirs, ownerless = task_of(ada), task_of(grace), task_of()
    topics = [
        user_topic(ada.pk),
        task_topic(mine.pk),
        user_topic(grace.pk),
        task_topic(theirs.pk),
        task_topic(ownerless.pk),
        task_topic(unknown_id()),
        "project:7",
    ]
    assert followable(asked_by(ada), topics) == topics[:2]


def test_a_superuser_who_is_not_staff_sees_only_their_own_tasks() -> None:
    root = person("root", is_superuser=True)
    task = task_of(person("ada"))
    assert followable(asked_by(root), [task_topic(task.pk)]) == []
    assert not may_see(asked_by(root), task)


def test_many_tasks_are_checked_in_one_query(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    ada = person("ada")
    topics = [task_topic(task_of(ada).pk) for _ in range(20)]
    with django_assert_num_queries(1):
        assert followable(asked_by(ada), topics) == topics


@pytest.mark.parametrize(
    "topic",
    ["", "task", "task:", "task:1' OR 1=1", "task:x", "TASK:1", "user:*", "a:b c", "x" * 200, None, 7, ["user:1"]],
)
def test_malformed_topics_are_left_out(topic: Any) -> None:
    assert followable(asked_by(person()), [topic] if topic.__hash__ else ["user:*"]) == []


def test_a_topic_with_another_spelling_of_a_tasks_id_is_left_out() -> None:
    ada = person("ada")
    task = task_of(ada)
    assert followable(asked_by(ada), [f"task:{str(task.pk).upper()}", f"task:{task.pk.hex}"]) == []


def test_an_anonymous_visitor_may_follow_the_tasks_of_their_session() -> None:
    request = asked_by()
    request.session = SessionStore()
    request.session.create()
    mine, theirs = task_of(request), task_of(Owner(session=session_digest("another")))
    topics = [session_topic(session_digest(request.session.session_key)), task_topic(mine.pk), task_topic(theirs.pk)]
    assert followable(request, topics) == topics[:2]
    assert is_owner(request, mine)
    assert not is_owner(request, theirs)


def test_the_sites_hook_shares_topics_for_reading_only(settings: Any) -> None:
    settings.TELLTALE = settings.TELLTALE | {"CAN_FOLLOW": "tests.pages.test_permissions.shares_projects"}
    grace = person("grace")
    task, request = task_of(person("ada")), asked_by(grace)
    request.shared = {task_topic(task.pk)}  # type: ignore[attr-defined]
    assert followable(request, ["project:7", "project:8", task_topic(task.pk)]) == ["project:7", task_topic(task.pk)]
    assert may_see(request, task)
    assert not is_owner(request, task)


def test_the_sites_hook_cannot_share_a_reserved_topic(settings: Any) -> None:
    settings.TELLTALE = settings.TELLTALE | {"CAN_FOLLOW": "tests.pages.test_permissions.shares_everything"}
    assert followable(asked_by(person()), ["telltale:cancellations", "project:7"]) == ["project:7"]


def test_a_page_ticket_holds_the_visitors_own_topic_and_the_tasks_they_may_follow() -> None:
    ada, grace = person("ada"), person("grace")
    mine, theirs = task_of(ada), task_of(grace)
    page = page_ticket(asked_by(ada), [mine.pk, theirs.pk])
    assert page.topics == {user_topic(ada.pk), task_topic(mine.pk)}
    grant = tickets.verify(page.ticket)
    assert (grant.topics, grant.follower, grant.expires_at) == (page.topics, user_topic(ada.pk), page.expires_at)


def test_a_page_ticket_of_an_anonymous_visitor_without_a_session_holds_no_topics() -> None:
    page = page_ticket(asked_by(), [task_of(Owner(session="abc")).pk])
    assert page.topics == frozenset()
    assert tickets.verify(page.ticket).topics == frozenset()
