"""A group that ended because a member was presumed lost goes on when that member comes back."""

import pytest
from django.contrib.auth.models import User

from telltale import store
from telltale.core.snapshot import supersedes
from telltale.core.states import State
from telltale.models import StoredNotice, TaskState
from telltale.owners import Owner
from tests.store.test_groups import claim_members, end, queue_group

pytestmark = pytest.mark.django_db(transaction=True)


def group_row(group: TaskState) -> TaskState:
    return TaskState.objects.get(pk=group.pk)


def lose(*claims: store.Claim) -> None:
    """Have a reader presume these members lost."""
    TaskState.objects.filter(pk__in=[claim.id for claim in claims]).update(lease_until=0.0)
    assert len(store.expire([claim.id for claim in claims])) == len(claims)


def levels() -> list[str]:
    return list(StoredNotice.objects.order_by("created_at").values_list("level", flat=True))


def test_the_group_of_a_member_that_is_taken_back_goes_on_and_succeeds_with_it() -> None:
    ada = User.objects.create_user("ada")
    group = queue_group(3, owner=Owner(user_id=ada.pk))
    first, second, third = claim_members(group)
    end(first)
    end(second)
    lose(third)
    failed = group_row(group)
    assert (failed.state, levels()) == (State.FAILED, ["error"])
    taken_back = store.take_back(third)
    assert taken_back is not None
    new_claim, changed = taken_back
    assert changed.group is not None
    assert supersedes(changed.group.snapshot.order, failed.snapshot.order)
    running = group_row(group)
    assert (running.state, running.error, running.snapshot.progress.current) == (State.RUNNING, None, 2)
    assert levels() == [], "no page has shown that it failed"
    end(new_claim)
    assert (group_row(group).state, levels()) == (State.SUCCEEDED, ["success"])


def test_where_a_page_has_shown_the_failure_a_second_notice_says_that_the_group_goes_on() -> None:
    ada = User.objects.create_user("ada")
    group = queue_group(1, owner=Owner(user_id=ada.pk))
    [member] = claim_members(group)
    lose(member)
    assert len(store.take_notices(group.pk)) == 1
    _claim, changed = store.take_back(member)
    assert changed.group is not None
    assert changed.group.notice is not None
    assert levels() == ["error", "info"]


def test_a_lost_member_that_is_delivered_again_reopens_the_group_as_well() -> None:
    group = queue_group(2)
    first, second = claim_members(group)
    end(first)
    lose(second)
    again = store.claim(task_id=second.id, worker="w2")
    assert isinstance(again, store.Claim)
    assert group_row(group).state == State.RUNNING
    end(again)
    assert group_row(group).state == State.SUCCEEDED


def test_another_member_that_failed_keeps_the_group_failed() -> None:
    group = queue_group(2)
    first, second = claim_members(group)
    end(first, State.FAILED)
    lose(second)
    new_claim, changed = store.take_back(second)
    assert (group_row(group).state, changed.group) == (State.FAILED, None)
    end(new_claim)
    assert group_row(group).state == State.FAILED


def test_of_two_lost_members_the_last_to_come_back_reopens_the_group() -> None:
    group = queue_group(2)
    claims = claim_members(group)
    lose(*claims)
    store.take_back(claims[0])
    assert group_row(group).state == State.FAILED
    store.take_back(claims[1])
    assert group_row(group).state == State.RUNNING


def test_the_members_of_later_steps_wait_again() -> None:
    group = queue_group(1, 1)
    first, body = TaskState.objects.in_bulk(store.member_ids(group)).values()
    first, body = sorted((first, body), key=lambda row: row.step)
    claimed = store.claim(task_id=first.pk, worker="w1")
    lose(claimed)
    assert TaskState.objects.get(pk=body.pk).state == State.FAILED
    new_claim, _changed = store.take_back(claimed)
    assert TaskState.objects.get(pk=body.pk).state == State.QUEUED
    end(new_claim)
    assert group_row(group).state == State.RUNNING, "its last step is still to come"
    end(store.claim(task_id=body.pk, worker="w2"))
    assert group_row(group).state == State.SUCCEEDED


def test_a_cancelled_group_stays_cancelled() -> None:
    group = queue_group(1)
    [member] = claim_members(group)
    store.request_cancel(group.pk)
    lose(member)
    store.take_back(member)
    assert group_row(group).state == State.CANCELLED
