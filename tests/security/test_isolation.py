"""Fifty users, whose rights change at random: no connection gets what its ticket does not cover, and no ticket covers
what its user may not follow."""

import random
from collections.abc import Iterator
from typing import Any

import pytest
from django.http import HttpRequest
from django.test import Client

import telltale
from telltale.core.topics import task_topic, user_topic
from telltale.live import tickets
from telltale.models import TaskState
from tests.factories import moved, person, started, task_of
from tests.live.test_rights import ticket_of
from tests.transports.conftest import CLIENTS
from tests.transports.sites import ThreadSite, in_a_thread

pytestmark = pytest.mark.service

USERS, PROJECTS, ROUNDS = 50, 8, 2

GRANTS: dict[str, set[str]] = {}
"""By user name: the projects that they may follow now."""


def can_follow(request: HttpRequest, topic: str) -> bool:
    """The hook of the test's site."""
    return topic in GRANTS.get(getattr(request.user, "username", ""), set())


@pytest.fixture(params=["memory://", "local://"])
def site(request: pytest.FixtureRequest, transactional_db: None, settings: Any) -> Iterator[ThreadSite]:
    more = {"CAN_FOLLOW": f"{__name__}.can_follow", "CONNECTIONS_PER_ADDRESS": 1_000, "BROKER": request.param}
    settings.TELLTALE = settings.TELLTALE | more
    with in_a_thread("live") as site:
        yield site
    GRANTS.clear()


class Tenant:
    """A user with a task, in a browser."""

    def __init__(self, number: int) -> None:
        self.user = person(f"user{number}")
        self.topic = user_topic(self.user.pk)
        self.task = task_of(self.user)
        self.claim = started(self.task)
        self.browser = Client()
        self.browser.force_login(self.user)

    @property
    def permitted(self) -> set[str]:
        return {self.topic, task_topic(self.task.pk), *GRANTS[self.user.username]}

    def connects(self, site: ThreadSite, transport: str, requested: list[str]) -> "Page":
        ticket = ticket_of(self.browser, *requested)
        granted = set(tickets.verify(ticket).topics)
        assert granted == self.permitted & set(requested)
        return Page(self, granted, CLIENTS[transport](site, ticket))


class Page:
    """A connection with a ticket for these topics."""

    def __init__(self, tenant: Tenant, topics: set[str], client: Any) -> None:
        self.tenant, self.topics, self.client = tenant, topics, client
        client.until(lambda message: message["type"] in {"hello", "poll"})

    def assert_isolated(self, round_number: int) -> None:
        """Read up to the last news of the round: everything on the way is covered by the ticket."""
        # A broker may lose events, but no state.
        last = 10 * round_number
        self.client.until(lambda message: any(task["seq"] >= last for task in message.get("tasks", ())))
        for message in self.client.messages:
            assert message["type"] != "bye"
            assert {event["topic"] for event in message.get("events", ())} <= self.topics
            assert {notice["topic"] for notice in message.get("notices", ())} <= self.topics
            assert {task["id"] for task in message.get("tasks", ())} <= {str(self.tenant.task.pk)}
        self.client.close()


def test_s21_users_whose_rights_change_at_random_never_get_what_they_may_not_follow(site: ThreadSite) -> None:
    chance = random.Random(random.randrange(2**32))
    projects = [f"project:{n}" for n in range(PROJECTS)]
    tenants = [Tenant(n) for n in range(USERS)]
    everything = [
        *projects,
        *(tenant.topic for tenant in tenants),
        *(task_topic(row.pk) for row in TaskState.objects.all()),
    ]
    for round_number in range(1, ROUNDS + 1):
        for tenant in tenants:
            GRANTS[tenant.user.username] = set(chance.sample(projects, chance.randrange(PROJECTS)))
        pages = []
        for number, tenant in enumerate(tenants):
            wanted = chance.sample(everything, chance.randrange(len(everything)))
            pages.append(tenant.connects(site, list(CLIENTS)[number % len(CLIENTS)], [tenant.topic, *wanted]))
        publish_to_all(tenants, projects, round_number)
        for page in pages:
            page.assert_isolated(round_number)


def publish_to_all(tenants: list[Tenant], projects: list[str], round_number: int) -> None:
    """Something about every task, to every topic and for every person."""
    for project in projects:
        telltale.publish(project, "news", round_number)
    for tenant in tenants:
        telltale.publish(task_topic(tenant.task.pk), "news", round_number)
        telltale.notify(tenant.user, f"For {tenant.user.username} alone")
    for tenant in tenants:
        telltale.publish(tenant.topic, "news", round_number)
        moved(tenant.claim, round_number / 10, seq=10 * round_number)
