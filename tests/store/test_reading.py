"""Reading: expired leases end first, and many tasks cost as few queries as one."""

from typing import Any

import pytest
from django.contrib.auth.models import User

from telltale import store
from telltale.core.states import State
from telltale.owners import Owner
from tests.store.factories import claim, queue, report

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_task_whose_lease_expired_is_lost_at_the_next_read_and_one_with_a_renewed_lease_is_not() -> None:
    expired, renewed = queue(), queue()
    claim(expired)
    alive = claim(renewed)
    later = store.now() + 1_000
    store.save([report(alive)], now=later)
    envelopes = store.read_tasks([expired.pk, renewed.pk], now=later)
    states = {envelope.snapshot.id: envelope.snapshot.state for envelope in envelopes}
    assert states == {str(expired.pk): State.LOST, str(renewed.pk): State.RUNNING}


def test_reading_many_tasks_takes_one_query(django_assert_num_queries: Any) -> None:
    tasks = [queue() for _ in range(20)]
    with django_assert_num_queries(1):
        assert len(store.read_tasks([task.pk for task in tasks])) == 20


def test_reading_a_users_topic_takes_two_queries(django_assert_num_queries: Any) -> None:
    ada = User.objects.create(username="ada")
    for _ in range(5):
        queue(owner=Owner(user_id=ada.pk))
    with django_assert_num_queries(2):
        assert len(store.read_topics([f"user:{ada.pk}"])) == 5


def test_the_tasks_of_an_owner_are_those_of_the_user_or_of_the_session_and_without_either_none() -> None:
    ada = User.objects.create(username="ada")
    owners = [Owner(user_id=ada.pk), Owner(session="5e55"), Owner()]
    tasks = [queue(owner=owner) for owner in owners]
    assert [list(store.task_rows_of(owner)) for owner in owners] == [[tasks[0]], [tasks[1]], []]
    assert [[owner.owns(task) for task in tasks] for owner in owners] == [
        [True, False, False],
        [False, True, False],
        [False, False, False],
    ]
