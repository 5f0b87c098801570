"""The owner of a running task signs in: the task, those that it starts, and its end are the user's from then on."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connections

import telltale
from telltale import store
from telltale.core.states import State
from telltale.core.topics import session_topic, user_topic
from telltale.models import StoredNotice, TaskState
from telltale.owners import Owner, owned_by
from telltale.worker.run import run_attempt
from tests.app import thread_tasks
from tests.factories import person
from tests.worker.conftest import Carried, assert_eventually

pytestmark = pytest.mark.django_db(transaction=True)

SESSION = "5e55"
USER_ID = 7


@pytest.fixture
def task(queue: Callable[..., TaskState]) -> TaskState:
    person("ada", pk=USER_ID)
    return queue(owner=Owner(session=SESSION))


def test_a_running_task_is_published_to_the_user_as_well(task: TaskState, carried: Carried) -> None:
    def topics_of_last() -> tuple[str, ...]:
        return next(reversed([e.topics for e in list(carried) if e.about == str(task.pk)]), ())

    with run_attempt(task_id=task.pk) as tracker:
        tracker.current = 1
        assert_eventually(lambda: topics_of_last() == (f"task:{task.pk}", session_topic(SESSION)))
        store.hand_over([SESSION], USER_ID)
        assert_eventually(lambda: user_topic(USER_ID) in topics_of_last())
        assert session_topic(SESSION) in topics_of_last()
    carried.assert_ended(task)
    assert user_topic(USER_ID) in topics_of_last()


def test_the_notice_of_its_end_is_the_users(task: TaskState) -> None:
    with run_attempt(task_id=task.pk):
        store.hand_over([SESSION], USER_ID)
    assert StoredNotice.objects.get().topic == user_topic(USER_ID)


def test_what_it_starts_and_says_afterwards_is_the_users(task: TaskState, tmp_path: Any) -> None:
    with run_attempt(task_id=task.pk), owned_by(Owner(session=SESSION)):
        store.hand_over([SESSION], USER_ID)
        child = telltale.enqueue(thread_tasks.count, str(tmp_path / "log"), 1, 0.0)
        [other] = telltale.enqueue_many(thread_tasks.count, [(str(tmp_path / "log"), 1, 0.0)])
        notice = telltale.notify(Owner(session=SESSION), "Half of it is done")
    assert {child.owner_topic, other.owner_topic, notice.topic} == {user_topic(USER_ID)}
    assert_eventually(lambda: TaskState.objects.filter(ended_at=None).count() == 0)


def test_a_task_that_ends_while_its_owner_signs_in_leaves_its_notice_to_the_user(
    queue: Callable[..., TaskState],
) -> None:
    person("ada", pk=USER_ID)
    tasks = [queue(owner=Owner(session=SESSION)) for _ in range(40)]
    claims = [store.claim(task_id=task.pk, worker="w") for task in tasks]
    begin = threading.Barrier(2)

    def end_all() -> None:
        begin.wait(30)
        for claim in claims:
            assert isinstance(claim, store.Claim)
            store.end(claim.id, claim.attempt, State.SUCCEEDED)
        connections.close_all()

    thread = threading.Thread(target=end_all)
    thread.start()
    begin.wait(30)
    store.hand_over([SESSION], USER_ID)
    thread.join(60)
    assert StoredNotice.objects.filter(topic=user_topic(USER_ID)).count() == len(tasks)
