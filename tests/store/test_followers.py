"""Owners and keys: the unique column decides races; visitors who join a shared task are kept, up to a limit."""

from collections.abc import Callable
from typing import Any

import pytest

from telltale import store
from telltale.core.states import State
from telltale.models import TaskFollower, TaskState
from telltale.owners import Owner
from telltale.store import followers, sign_in
from tests.factories import person
from tests.store.factories import claim, queue, run_at_once

pytestmark = pytest.mark.django_db(transaction=True)


def queues(owner: Owner, **arguments: Any) -> Callable[[], store.Queued]:
    return lambda: store.queue(runner="test", name="work", key="file 7", owner=owner, **arguments)


def test_of_calls_of_several_owners_at_once_with_one_key_one_of_each_owner_creates_a_task() -> None:
    owners = [Owner(session="a"), Owner(session="b"), Owner()]
    results = run_at_once(*[queues(owner) for owner in owners for _call in range(3)])
    assert [queued.joined for queued in results].count(False) == 3
    assert {(queued.task.session) for queued in results} == {"a", "b", ""}
    assert all(queued.task.session == owners[number // 3].session for number, queued in enumerate(results))


def test_of_calls_of_several_owners_at_once_one_creates_the_shared_task_and_the_others_may_follow_it() -> None:
    owners = [Owner(session=name) for name in "abcdef"]
    results = run_at_once(*[queues(owner, is_shared=True) for owner in owners for _twice in range(2)])
    (task,) = TaskState.objects.all()
    assert {queued.task.pk for queued in results} == {task.pk}
    joined = [owner for owner in owners if store.followed_ids(owner, [task.pk])]
    assert joined == [owner for owner in owners if owner.session != task.session]
    assert TaskFollower.objects.count() == len(owners) - 1


def test_a_shared_task_keeps_the_newest_visitors_who_joined_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followers, "FOLLOWERS_KEPT", 3)
    task = queue(key="file 7", is_shared=True, owner=Owner(session="owner"))
    visitors = [Owner(session=name) for name in "abcde"]
    for visitor in [*visitors, visitors[-1]]:
        queues(visitor, is_shared=True)()
    assert [visitor.session for visitor in visitors if store.followed_ids(visitor, [task.pk])] == ["c", "d", "e"]


@pytest.mark.parametrize("is_shared", [True, False])
def test_a_key_stays_shared_or_its_owners_through_claims_retries_and_losses(is_shared: bool) -> None:
    owner, other = Owner(session="a"), Owner(session="b")
    task = queue(key="file 7", is_shared=is_shared, owner=owner)

    def assert_key_is_taken() -> None:
        assert queues(owner, is_shared=is_shared)().task.pk == task.pk
        others = queues(other, is_shared=is_shared)().task
        assert (others.pk == task.pk) is is_shared

    claimed = claim(task)
    assert_key_is_taken()
    store.set_retrying(task.pk, claimed.attempt)
    claimed = claim(task)
    assert_key_is_taken()
    store.end(task.pk, claimed.attempt, State.LOST)
    taken_back = store.take_back(claimed)
    assert taken_back is not None
    assert_key_is_taken()
    store.end(task.pk, taken_back[0].attempt, State.FAILED)
    assert store.requeue(task.pk) is not None
    assert_key_is_taken()


def test_a_claim_that_was_read_before_a_sign_in_does_not_bring_the_sessions_key_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ada = person("ada")
    task = queue(key="file 7", owner=Owner(session="a"))
    store.end(task.pk, claim(task).attempt, State.FAILED)
    find_row, calls = store.running.find_row, []

    def find_before_the_sign_in(where: Any) -> Any:
        row = find_row(where)
        if not calls:
            calls.append(store.hand_over(["a"], ada.pk))
        return row

    monkeypatch.setattr(store.running, "find_row", find_before_the_sign_in)
    claim(task)
    assert calls == [True]
    assert queues(Owner(user_id=ada.pk))().task.pk == task.pk


def test_a_sign_in_of_many_tasks_with_keys_frees_only_the_keys_that_the_user_has_open() -> None:
    ada = person("ada")
    same = {"runner": "test", "name": "work"}
    for number in range(sign_in.WRITTEN_TOGETHER + 5):
        store.queue(key=f"file {number}", owner=Owner(session="a"), **same)
    of_user = store.queue(key="file 7", owner=Owner(user_id=ada.pk), **same).task
    assert store.hand_over(["a"], ada.pk)
    assert queues(Owner(user_id=ada.pk))().task.pk == of_user.pk
    assert store.queue(key="file 104", owner=Owner(user_id=ada.pk), **same).joined
    assert TaskState.objects.filter(open_key=None).count() == 1


def test_the_visitors_who_joined_a_task_are_deleted_with_it_a_bounded_number_at_a_time() -> None:
    task = queue(key="file 7", is_shared=True, owner=Owner(session="owner"))
    for name in "abcde":
        queues(Owner(session=name), is_shared=True)()
    store.end(task.pk, claim(task).attempt, State.CANCELLED)
    later = store.now() + 10**9
    TaskState.objects.filter(pk=task.pk).update(ended_at=1.0)
    store.notices.notice_rows().delete()
    for left in (3, 1, 0):
        pruned = store.prune(now=later, most=2)
        assert (TaskFollower.objects.count(), TaskState.objects.count()) == (left, int(left > 0))
        assert pruned.tasks == int(left == 0)
