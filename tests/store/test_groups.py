"""Groups: the count is right however the members end, at every read."""

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
from tests.store.costs import analyse, cost_of
from tests.store.factories import claim, run_at_once

pytestmark = pytest.mark.django_db(transaction=True)


def queue_group(*step_sizes: int, owner: Owner = Owner()) -> TaskState:  # noqa: B008 (a value)
    def member() -> store.Member:
        return store.Member(runner_id=str(uuid4()), name="work", label="Work", args=[], kwargs={})

    steps = [[member() for _ in range(size)] for size in step_sizes]
    return store.queue_group(steps, group_id=uuid4(), runner="test", name="all", label="All", owner=owner)


def claim_members(group: TaskState) -> list[store.Claim]:
    rows = TaskState.objects.in_bulk(store.member_ids(group))
    return [claim(rows[pk]) for pk in store.member_ids(group)]


def end(claimed: store.Claim, state: State = State.SUCCEEDED) -> store.Changed | None:
    return store.end(claimed.id, claimed.attempt, state)


def cost_per_member(group: TaskState) -> tuple[float, float]:
    """How many rows an end examines on average, and its statements. In a group of n, each n/100-th is counted."""
    now, size = store.now(), sum(group.call["steps"])
    store.start_group(group.pk, now=now)
    ids = store.member_ids(group)
    counted = [pk for pk in ids if pk.int % (size // 100) == 0]
    others = [pk for pk in ids if pk.int % (size // 100)]
    share = 100 * 100 // size
    sample = TaskState.objects.in_bulk([*counted[:share], *others[: 100 - share]])
    assert len(sample) == 100
    claims = [claim(row) for row in sample.values()]
    analyse(TaskState)

    def end_all() -> None:
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:  # As in a larger table, of which the group is a small part.
                cursor.execute("SET LOCAL enable_seqscan = off")
        for claimed in claims:
            assert store.end(claimed.id, 1, State.SUCCEEDED, is_owned=False, now=now) is not None

    cost = cost_of(end_all)
    return cost.examined / 100, len(cost.statements) / 100


def state_and_count(group: TaskState) -> tuple[str, float | None]:
    row = store.get_task(group.pk)
    assert row is not None
    return row.state, row.snapshot.progress.current


@pytest.mark.parametrize("_again", range(5))
def test_when_the_last_members_end_at_once_the_group_ends_once_and_its_owner_gets_one_notice(_again: int) -> None:
    group = queue_group(6, owner=Owner(user_id=User.objects.create_user("ada").pk))
    run_at_once(*(lambda claimed=claimed: end(claimed) for claimed in claim_members(group)))
    assert TaskState.objects.get(pk=group.pk).state == State.SUCCEEDED, "before anything has read it"
    assert (state_and_count(group), StoredNotice.objects.count()) == ((State.SUCCEEDED, 6), 1)


@pytest.mark.service
@pytest.mark.parametrize("size", [1_000, 10_000])
@pytest.mark.parametrize("is_chain", [False, True])
def test_what_the_end_of_a_member_costs_does_not_depend_on_the_size_of_its_group(size: int, is_chain: bool) -> None:
    queue_group(5_000)  # Other tasks, which were queued before: a scan would read these first.
    small, large = (queue_group(*([1] * n if is_chain else [n])) for n in (100, size))
    (examined, statements), (examined_in_small, statements_in_small) = cost_per_member(large), cost_per_member(small)
    assert examined <= 1.2 * examined_in_small
    assert statements <= 1.2 * statements_in_small


def test_a_large_group_is_written_about_a_hundred_times_and_its_end_is_exact() -> None:
    group, now = queue_group(400), store.now()
    claims = claim_members(group)
    for claimed in claims[:-1]:
        store.end(claimed.id, 1, State.SUCCEEDED, is_owned=False, now=now)
    row = TaskState.objects.get(pk=group.pk)
    assert (row.state, row.seq) == (State.RUNNING, pytest.approx(100, abs=40))
    assert row.snapshot.progress.current == pytest.approx(400, abs=50)
    assert state_and_count(group) == (State.RUNNING, 399)
    store.end(claims[-1].id, 1, State.SUCCEEDED, is_owned=False, now=now)
    row = TaskState.objects.get(pk=group.pk)
    assert (row.state, row.snapshot.progress.current) == (State.SUCCEEDED, 400)


@pytest.mark.parametrize("bad", [State.FAILED, State.SUCCEEDED])
def test_a_large_group_whose_members_end_in_many_threads_ends_once_and_at_once(bad: State) -> None:
    group = queue_group(240, owner=Owner(user_id=User.objects.create_user("ada").pk))
    claims = claim_members(group)
    states = [bad if number == 100 else State.SUCCEEDED for number in range(240)]
    shares = [list(zip(claims, states, strict=True))[number::6] for number in range(6)]
    results = run_at_once(*(lambda share=share: [end(*member) for member in share] for share in shares))
    assert not [result for result in results if isinstance(result, Exception)]
    row = TaskState.objects.get(pk=group.pk)
    assert (row.state, row.snapshot.progress.current, StoredNotice.objects.count()) == (bad, 240, 1)


def test_the_end_of_a_member_is_published_with_the_change_of_its_group() -> None:
    group = queue_group(2)
    first, second = claim_members(group)
    changed = end(first)
    assert changed is not None
    assert [envelope.snapshot.id for envelope in changed.envelopes if envelope.snapshot] == [
        str(first.id),
        str(group.pk),
    ]
    assert state_and_count(group) == (State.RUNNING, 1)
    end(second)
    assert state_and_count(group) == (State.SUCCEEDED, 2)


def test_a_group_is_running_once_a_member_is_even_if_its_start_was_not_recorded() -> None:
    group = queue_group(2)
    assert state_and_count(group) == (State.QUEUED, 0)
    claim_members(group)
    assert state_and_count(group) == (State.RUNNING, 0)


def test_a_group_whose_members_wait_for_longer_than_a_lease_is_not_lost() -> None:
    group = queue_group(2)
    end(claim_members(group)[0])
    TaskState.objects.filter(pk__in=store.member_ids(group), ended_at=None).update(
        state=State.QUEUED, lease_until=None
    )  # The other member waits behind other tasks.
    row = store.get_task(group.pk, now=store.now() + 3_600)
    assert row is not None
    assert row.state == State.RUNNING


def test_reading_a_group_ends_a_member_whose_lease_expired() -> None:
    group = queue_group(2)
    first, _second = claim_members(group)
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
def test_a_group_ends_as_its_worst_member_does(states: Sequence[State], expected: State) -> None:
    group = queue_group(2)
    for claimed, state in zip(claim_members(group), states, strict=True):
        end(claimed, state)
    assert state_and_count(group)[0] == expected


def test_a_group_ends_with_the_first_step_that_failed_and_a_later_member_may_still_begin() -> None:
    group = queue_group(1, 1)
    first, later = store.member_ids(group)
    end(claim(TaskState.objects.get(pk=first)), State.FAILED)
    assert state_and_count(group)[0] == State.FAILED
    assert TaskState.objects.get(pk=later).state == State.FAILED
    assert claim(TaskState.objects.get(pk=later)).attempt == 2


def test_a_group_can_be_cancelled_before_any_member_has_begun() -> None:
    group = queue_group(3)
    assert store.request_cancel(group.pk) is not None
    assert len(store.open_members(group)) == 3
    for member in store.open_members(group):
        store.request_cancel(member.pk)
    assert state_and_count(group) == (State.CANCELLED, 0)
    assert store.open_members(group) == []


@contextmanager
def read_only_transaction() -> Iterator[None]:
    """MariaDB needs the statement before the transaction begins, the others within it."""
    read_only = "PRAGMA query_only = ON" if connection.vendor == "sqlite" else "SET TRANSACTION READ ONLY"
    with connection.cursor() as cursor:
        if connection.vendor == "mysql":
            cursor.execute(read_only)
        with transaction.atomic():
            if connection.vendor != "mysql":
                cursor.execute(read_only)
            yield
            if connection.vendor == "sqlite":
                cursor.execute("PRAGMA query_only = OFF")


def test_in_a_read_only_transaction_a_group_is_read_as_it_was_saved_and_the_transaction_stays_usable() -> None:
    group = queue_group(2)
    first, _second = claim_members(group)
    assert state_and_count(group) == (State.RUNNING, 0)
    # As if the process that ended the member was killed before it counted the members.
    TaskState.objects.filter(pk=first.id).update(state=State.SUCCEEDED.value, ended_at=store.now(), lease_until=None)
    with read_only_transaction():
        assert state_and_count(group) == (State.RUNNING, 0)
        assert TaskState.objects.filter(pk=group.pk).exists()
    assert state_and_count(group) == (State.RUNNING, 1)
