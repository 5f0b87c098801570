"""A group and its members in the store: the sum is right however its members end, and read by whomever."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction

from telltale import store
from telltale.core.states import State
from telltale.models import StoredNotice, TaskState
from telltale.owners import Owner
from tests.store.test_store import all_at_once, claim

pytestmark = pytest.mark.django_db(transaction=True)


def group_of(*steps: int, owner: Owner = Owner()) -> TaskState:  # noqa: B008 (a value)
    def member() -> store.Member:
        return store.Member(runner_id=str(uuid4()), name="work", label="Work", args=[], kwargs={})

    members = [[member() for _ in range(size)] for size in steps]
    return store.queue_group(members, group_id=uuid4(), runner="test", name="all", label="All", owner=owner)


def claims(group: TaskState) -> list[store.Claim]:
    rows = TaskState.objects.in_bulk(store.member_ids(group))
    return [claim(rows[pk]) for pk in store.member_ids(group)]


def end(one: store.Claim, state: State = State.SUCCEEDED) -> store.Changed | None:
    return store.end(one.id, one.attempt, state)


def shown(group: TaskState) -> tuple[str, float | None]:
    row = store.get_task(group.pk)
    assert row is not None
    return row.state, row.snapshot.progress.current


@pytest.mark.parametrize("_again", range(5))
def test_of_last_members_that_end_at_once_one_ends_the_group_and_its_owner_is_told_once(_again: int) -> None:
    group = group_of(6, owner=Owner(user_id=User.objects.create_user("ada").pk))
    all_at_once(*(lambda one=one: end(one) for one in claims(group)))
    assert TaskState.objects.get(pk=group.pk).state == State.SUCCEEDED, "without anybody's having read it"
    assert (shown(group), StoredNotice.objects.count()) == ((State.SUCCEEDED, 6), 1)


def test_what_a_member_changes_of_its_group_is_told_with_its_end() -> None:
    group = group_of(2)
    first, second = claims(group)
    changed = end(first)
    assert changed is not None
    assert [e.snapshot.id for e in changed.envelopes if e.snapshot] == [str(first.id), str(group.pk)]
    assert shown(group) == (State.RUNNING, 1)
    end(second)
    assert shown(group) == (State.SUCCEEDED, 2)


def test_it_is_read_as_running_though_nobody_has_said_that_it_began() -> None:
    group = group_of(2)
    assert shown(group) == (State.QUEUED, 0)
    claims(group)
    assert shown(group) == (State.RUNNING, 0)


def test_it_outlives_the_lease_of_any_worker_and_is_neither_stalled_nor_lost() -> None:
    group = group_of(2)
    end(claims(group)[0])
    TaskState.objects.filter(pk__in=store.member_ids(group), ended_at=None).update(
        state=State.QUEUED, lease_until=None
    )  # it waits behind others
    row = store.get_task(group.pk, now=store.now() + 3_600)
    assert row is not None
    assert row.state == State.RUNNING


def test_a_member_whose_lease_has_lapsed_is_lost_by_whoever_reads_the_group() -> None:
    group = group_of(2)
    first, _second = claims(group)
    end(first)
    row = store.get_task(group.pk, now=store.now() + 3_600)
    assert row is not None
    assert (row.state, row.error) == (State.FAILED, "1 of 2 tasks failed.")


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ((State.SUCCEEDED, State.FAILED), State.FAILED),
        ((State.FAILED, State.CANCELLED), State.FAILED),
        ((State.SUCCEEDED, State.CANCELLED), State.CANCELLED),
    ],
)
def test_it_ends_as_badly_as_its_worst_member(states: Sequence[State], expected: State) -> None:
    group = group_of(2)
    for one, state in zip(claims(group), states, strict=True):
        end(one, state)
    assert shown(group)[0] == expected


def test_it_ends_with_the_first_step_that_failed_and_a_later_member_may_begin_all_the_same() -> None:
    group = group_of(1, 1)
    first, later = store.member_ids(group)
    end(claim(TaskState.objects.get(pk=first)), State.FAILED)
    assert shown(group)[0] == State.FAILED
    assert TaskState.objects.get(pk=later).state == State.FAILED
    assert claim(TaskState.objects.get(pk=later)).attempt == 2


def test_it_can_be_cancelled_before_anything_has_begun() -> None:
    group = group_of(3)
    assert store.request_cancel(group.pk) is not None
    assert len(store.open_members(group)) == 3
    for member in store.open_members(group):
        store.request_cancel(member.pk)
    assert shown(group) == (State.CANCELLED, 0)
    assert store.open_members(group) == []


@contextmanager
def transaction_that_only_reads() -> Iterator[None]:
    """MariaDB is told before it begins, the others within."""
    only_read = "PRAGMA query_only = ON" if connection.vendor == "sqlite" else "SET TRANSACTION READ ONLY"
    with connection.cursor() as cursor:
        if connection.vendor == "mysql":
            cursor.execute(only_read)
        with transaction.atomic():
            if connection.vendor != "mysql":
                cursor.execute(only_read)
            yield
            if connection.vendor == "sqlite":
                cursor.execute("PRAGMA query_only = OFF")


def test_where_nothing_can_be_written_a_group_is_read_as_it_is_and_the_transaction_stays_usable() -> None:
    group = group_of(2)
    first, _second = claims(group)
    assert shown(group) == (State.RUNNING, 0)
    # As if the process that ended it was killed before it counted the members.
    TaskState.objects.filter(pk=first.id).update(state=State.SUCCEEDED.value, ended_at=store.now(), lease_until=None)
    with transaction_that_only_reads():
        assert shown(group) == (State.RUNNING, 0)
        assert TaskState.objects.filter(pk=group.pk).exists()
    assert shown(group) == (State.RUNNING, 1)
