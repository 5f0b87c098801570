"""A waiting task that no worker begins although nothing is in the way: it is shown as possibly lost, then it fails."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

import telltale
from telltale import store
from telltale.core.health import MISSING_S, may_be_lost
from telltale.core.states import State
from telltale.dispatch import missing
from telltale.dispatch.control import CannotRetry, retry
from telltale.dispatch.queue_status import QueueStatusPoller
from telltale.dispatch.registry import by_name
from telltale.models import TaskState
from telltale.owners import Owner
from telltale.runners.threads import ThreadRunner
from telltale.testing.runners import reload
from tests.app import thread_tasks

pytestmark = pytest.mark.django_db(transaction=True)

NAME = "tests.app.thread_tasks.count"


class ListeningRunner(ThreadRunner):
    """A thread runner with a worker that listens."""

    def is_listening(self, task: object) -> bool | None:
        return True


class RememberingRunner(ThreadRunner):
    """A thread runner that knows its messages: it has none."""

    def has_message(self, task: object, runner_id: str) -> bool | None:
        return False


@pytest.fixture
def use(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[type], None]:
    def use_runner(runner: type) -> None:
        settings.TELLTALE = {**settings.TELLTALE, "RUNNERS": [f"{__name__}.{runner.__name__}"]}
        assert isinstance(by_name("thread"), runner)

    return use_runner


def queued(runner_id: str, *, created_s_ago: float = 100.0) -> TaskState:
    now = store.now() - created_s_ago
    return store.queue(runner="thread", runner_id=runner_id, name=NAME, args=("log", 1, 0.0), now=now).task


def look(poller: QueueStatusPoller, row: TaskState) -> TaskState:
    """Let the poller ask once; return the row as it is then."""
    poller._update([str(row.pk)])
    return reload(row)


def let_pass(row: TaskState, seconds: float) -> None:
    """Make it missing for so much longer."""
    TaskState.objects.filter(pk=row.pk).update(missing_since=reload(row).missing_since - seconds)


def test_a_task_for_which_a_worker_listens_and_that_none_begins_may_be_lost_and_fails_after_the_setting(
    use: Callable[[type], None],
) -> None:
    use(ListeningRunner)
    row, poller = queued("1"), QueueStatusPoller()
    assert look(poller, row).missing_since is not None
    assert not may_be_lost(reload(row).snapshot, now=store.now())
    let_pass(row, MISSING_S + 1)
    assert may_be_lost(look(poller, row).snapshot, now=store.now())
    assert reload(row).state == State.QUEUED
    let_pass(row, 1_800)
    ended = look(poller, row)
    assert (ended.state, ended.error) == (State.FAILED, "No worker started this task. It may have been lost.")


def test_a_task_whose_runner_has_no_message_fails_after_a_minute(use: Callable[[type], None]) -> None:
    use(RememberingRunner)
    row, poller = queued("1"), QueueStatusPoller()
    look(poller, row)
    assert look(poller, row).state == State.QUEUED, "a worker may have taken the message just now"
    let_pass(row, missing.GONE_S + 1)
    assert look(poller, row).state == State.FAILED


def test_a_member_of_a_group_whose_turn_has_not_come_is_not_missing(use: Callable[[type], None]) -> None:
    use(RememberingRunner)
    members = [[store.Member(runner_id=str(n), name=NAME, label="", args=["log", 1, 0.0], kwargs={})] for n in (1, 2)]
    now = store.now() - 100
    group = store.queue_group(
        members, runner="thread", name="group", label="", owner=Owner(), now=now, group_id=uuid4()
    )
    first, second = (TaskState.objects.get(pk=pk) for pk in store.member_ids(group))
    poller = QueueStatusPoller()
    claim = store.claim(task_id=first.pk, worker="w")
    assert look(poller, second).missing_since is None, "its message is sent when the first has ended"
    store.end(first.pk, claim.attempt, State.SUCCEEDED)
    assert look(poller, second).missing_since is not None


def test_a_process_that_looks_for_the_first_time_ends_nothing(use: Callable[[type], None]) -> None:
    use(ListeningRunner)
    row = queued("1")
    look(QueueStatusPoller(), row)
    let_pass(row, 10_000)
    second_process = QueueStatusPoller()
    assert look(second_process, row).state == State.QUEUED
    assert look(second_process, row).state == State.FAILED


def test_a_task_with_another_ahead_or_with_a_busy_worker_is_not_missing(use: Callable[[type], None]) -> None:
    use(ListeningRunner)
    first, second = queued("1", created_s_ago=200), queued("2")
    poller = QueueStatusPoller()
    assert look(poller, second).missing_since is None, "one is ahead"
    store.claim(task_id=first.pk, worker="w")
    assert look(poller, second).missing_since is None, "the worker is busy"
    store.end(first.pk, 1, State.SUCCEEDED)
    assert look(poller, second).missing_since is not None


def test_a_task_that_was_overtaken_is_missing_although_a_worker_is_busy_and_is_not_when_it_begins() -> None:
    row, poller = queued("1"), QueueStatusPoller()
    assert look(poller, row).missing_since is None, "it is unknown whether a worker listens"
    later = queued("2", created_s_ago=50)
    store.claim(task_id=later.pk, worker="w")
    assert look(poller, row).missing_since is not None
    let_pass(row, MISSING_S + 1)
    claim = store.claim(task_id=row.pk, worker="w")
    assert isinstance(claim, store.Claim)
    assert reload(row).missing_since is None


def test_a_retry_that_is_due_and_never_comes_fails_as_well(use: Callable[[type], None]) -> None:
    use(ListeningRunner)
    row, poller = queued("1"), QueueStatusPoller()
    claim = store.claim(task_id=row.pk, worker="w")
    store.set_retrying(row.pk, claim.attempt, error="down", now=store.now() - 50)
    look(poller, row)
    let_pass(row, 10_000)
    assert look(poller, row).state == State.FAILED


def test_no_limit_means_that_it_waits_on(use: Callable[[type], None], settings: Any) -> None:
    settings.TELLTALE = {**settings.TELLTALE, "UNSTARTED_S": None}
    use(ListeningRunner)
    row, poller = queued("1"), QueueStatusPoller()
    look(poller, row)
    let_pass(row, 1e6)
    assert look(poller, row).state == State.QUEUED


def test_a_person_can_run_a_task_again_that_may_be_lost_and_its_late_message_does_not_run_it_twice(
    tmp_path: Path, thread_worker: Any
) -> None:
    thread_worker.pause()
    row = telltale.enqueue(thread_tasks.count, str(tmp_path / "log"), 1, 0.0)
    with pytest.raises(CannotRetry):
        retry(row)
    now = store.now()
    store.set_queue_status(row.pk, ahead=0, is_listening=True, is_missing=True, now=now - MISSING_S - 1)
    again = retry(reload(row))
    assert (again.state, again.attempt) == (State.QUEUED, 2)
    late = store.claim(task_id=row.pk, runner_id=row.runner_id, worker="w")
    assert isinstance(late, store.Refusal)
    assert late.is_superseded
