"""A lost attempt is a presumption: its living worker takes it back, unless a newer attempt began."""

import pytest
from django.contrib.auth.models import User

from telltale import store
from telltale.core.snapshot import Progress, Snapshot, supersedes
from telltale.core.states import State
from telltale.models import StoredNotice, TaskState
from telltale.owners import Owner
from telltale.store import Claim, Report

pytestmark = pytest.mark.django_db(transaction=True)

WORDS_AGAIN = "Import: the connection to the worker is back. The task is still running."


def lost_task(*, key: str | None = None) -> tuple[Claim, Snapshot]:
    """A task of Ada's whose worker lives; a reader has presumed it lost."""
    ada = User.objects.create(username="ada")
    task = store.queue(runner="test", name="app.import", label="Import", key=key, owner=Owner(user_id=ada.pk)).task
    claim = store.claim(task_id=task.pk, worker="w1")
    assert isinstance(claim, Claim)
    [changed] = store.expire(now=store.now() + 1_000)
    return claim, changed.snapshot


def row_of(claim: Claim) -> TaskState:
    return TaskState.objects.get(pk=claim.id)


def report_of(claim: Claim) -> Report:
    return Report(id=claim.id, attempt=claim.attempt, seq=claim.seq + 5, progress=Progress(current=3))


def notice_texts() -> list[str]:
    return list(StoredNotice.objects.order_by("created_at").values_list("text", flat=True))


def test_a_save_is_told_that_its_attempt_is_presumed_lost() -> None:
    claim, _lost = lost_task()
    [saved] = store.save([report_of(claim)])
    assert (saved.lost, saved.fenced) == (True, False)
    assert row_of(claim).state == State.LOST


def test_an_attempt_that_is_taken_back_supersedes_the_lost_one_and_is_running() -> None:
    claim, lost = lost_task()
    taken_back = store.take_back(claim)
    assert taken_back is not None
    new_claim, changed = taken_back
    assert supersedes(changed.snapshot.order, lost.order)
    assert (changed.snapshot.state, changed.snapshot.ended_at) == (State.RUNNING, None)
    assert changed.snapshot.started_at == claim.snapshot.started_at
    [saved] = store.save([report_of(new_claim)])
    assert (saved.lost, saved.fenced) == (False, False)
    assert store.expire(now=store.now() + 50) == [], "its lease is renewed"
    ended = store.end(claim.id, new_claim.attempt, State.SUCCEEDED)
    assert ended is not None
    assert supersedes(ended.snapshot.order, changed.snapshot.order)


def test_a_notice_of_the_loss_that_no_page_has_shown_is_replaced() -> None:
    claim, _lost = lost_task()
    new_claim, changed = store.take_back(claim)
    assert (notice_texts(), changed.notice) == ([], None)
    store.end(claim.id, new_claim.attempt, State.SUCCEEDED)
    assert notice_texts() == ["Import: finished."]


def test_where_the_loss_was_shown_a_second_notice_says_that_the_task_goes_on() -> None:
    claim, _lost = lost_task()
    store.take_notices(claim.id)
    _claim, changed = store.take_back(claim)
    assert changed.notice is not None
    assert changed.notice.text == WORDS_AGAIN
    assert [notice.text for notice in store.take_notices(claim.id)] == [WORDS_AGAIN]


def test_where_a_page_is_about_to_show_the_loss_a_second_notice_says_that_the_task_goes_on() -> None:
    claim, _lost = lost_task()
    notice = StoredNotice.objects.get()
    assert store.hold_notice(notice.pk, [notice.topic], "page").granted
    _claim, changed = store.take_back(claim)
    assert changed.notice is not None
    assert changed.notice.text == WORDS_AGAIN


def test_at_its_end_only_the_notice_of_the_end_is_added() -> None:
    claim, _lost = lost_task()
    store.take_notices(claim.id)
    new_claim, changed = store.take_back(claim, is_ending=True)
    assert changed.notice is None
    store.end(claim.id, new_claim.attempt, State.SUCCEEDED)
    assert [notice.text for notice in store.take_notices(claim.id)] == ["Import: finished."]


@pytest.mark.parametrize("is_lost_again", [False, True])
@pytest.mark.parametrize("by_a_person", [False, True])
def test_a_newer_attempt_fences_absolutely(by_a_person: bool, is_lost_again: bool) -> None:
    claim, _lost = lost_task()
    if by_a_person:
        assert store.requeue(claim.id) is not None
    if not by_a_person or is_lost_again:
        assert isinstance(store.claim(task_id=claim.id, worker="w2"), Claim)
    if is_lost_again:
        store.expire(now=store.now() + 1_000)
    before = row_of(claim).snapshot
    [saved] = store.save([report_of(claim)])
    assert (saved.fenced, saved.lost) == (True, False)
    assert store.take_back(claim) is None
    assert store.end(claim.id, claim.attempt, State.SUCCEEDED) is None
    assert row_of(claim).snapshot == before


@pytest.mark.parametrize("state", [State.SUCCEEDED, State.FAILED, State.CANCELLED])
def test_only_a_lost_attempt_is_taken_back(state: State) -> None:
    task = store.queue(runner="test", name="app.import").task
    claim = store.claim(task_id=task.pk, worker="w1")
    store.end(task.pk, 1, state)
    assert store.take_back(claim) is None
    assert row_of(claim).state == state


def test_it_takes_its_key_back_or_goes_on_without_it_if_another_task_has_it() -> None:
    claim, _lost = lost_task(key="contacts")
    owner = row_of(claim).belongs_to
    other = store.queue(runner="test", name="app.import", key="contacts", owner=owner).task
    new_claim, _changed = store.take_back(claim)
    row = row_of(claim)
    assert (row.state, row.key) == (State.RUNNING, None)
    store.delete_queued(other.pk)
    store.end(claim.id, new_claim.attempt, State.FAILED)


def test_a_requested_cancellation_is_kept() -> None:
    task = store.queue(runner="test", name="app.import").task
    claim = store.claim(task_id=task.pk, worker="w1")
    store.request_cancel(task.pk)
    store.expire(now=store.now() + 1_000)
    new_claim, _changed = store.take_back(claim)
    assert new_claim.cancel_requested
    [saved] = store.save([report_of(new_claim)])
    assert saved.cancel_requested
