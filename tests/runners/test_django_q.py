"""django-q2 beyond the contract: `async_task`, the synchronous mode, redelivered tasks, the list of clusters."""

from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django_q.brokers import get_broker
from django_q.conf import Conf
from django_q.models import OrmQ, Success
from django_q.signing import SignedPackage
from django_q.status import Status
from django_q.tasks import async_chain, async_task

import telltale
from telltale import store
from telltale.core.states import State
from telltale.dispatch.runner import EnqueueFailed
from telltale.models import TaskState
from telltale.owners import owned_by
from telltale.runners.django_q import DjangoQRunner, _running
from telltale.testing.runners import logged_lines, reload, wait_for_end, wait_until
from tests.app import q_tasks
from tests.runners.own_calls import only_row
from tests.runners.workers import WorkerProcess

pytestmark = pytest.mark.django_db(transaction=True)

COUNT = "tests.app.q_tasks.count"


def test_async_task_creates_the_row_at_once() -> None:
    ada = User.objects.create_user("ada")
    with owned_by(ada):
        task_id = async_task(COUNT, "log", 3, 0.0)
    row = only_row()
    assert (row.state, row.runner_id, row.owner, row.label) == (State.QUEUED, task_id, ada, "Count")
    assert (row.name, row.call["args"]) == (COUNT, ["log", 3, 0.0])


def test_the_synchronous_mode_creates_the_row_and_ends_it(tmp_path: Path) -> None:
    async_task(q_tasks.count, str(tmp_path / "log"), 3, 0.0, sync=True)
    assert (only_row().state, only_row().attempt, only_row().result) == (State.SUCCEEDED, 1, "/counted/")
    assert DjangoQRunner().current_call() is None, "the run is over"


@pytest.mark.parametrize("function", [q_tasks.follow_me, "tests.app.q_tasks.follow_me"], ids=["function", "name"])
def test_a_function_that_is_followed_by_its_name_is_shown(function: Any, tmp_path: Path) -> None:
    task_id = async_task(function, str(tmp_path / "log"), sync=True)
    row = only_row()
    assert (row.state, row.attempt, row.label) == (State.SUCCEEDED, 1, "Something of another package")
    assert (row.runner_id, logged_lines(tmp_path)) == (task_id, ["follow_me"])
    assert Success.objects.get(pk=task_id).func == "tests.app.q_tasks.follow_me"


def test_a_followed_function_that_does_not_exist_fails_as_without_telltale() -> None:
    with pytest.raises(ValueError, match=r"tests\.elsewhere\.follow_me is not defined"):
        async_task("tests.elsewhere.follow_me", "log", sync=True)


def test_an_untracked_function_has_no_row() -> None:
    async_task(q_tasks.untracked, "log")
    assert (TaskState.objects.count(), OrmQ.objects.count()) == (0, 1)


def test_if_the_broker_raises_every_call_raises_and_leaves_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise ConnectionError("unavailable")

    monkeypatch.setattr(OrmQ.objects, "create", refuse)
    monkeypatch.setattr("django_q.brokers.orm.ORM.enqueue", refuse)
    with pytest.raises(ConnectionError):
        async_task(COUNT, "log", 3, 0.0)
    with pytest.raises(EnqueueFailed, match="django_q could not take"):
        telltale.enqueue(q_tasks.count, "log", 3, 0.0)
    assert TaskState.objects.count() == 0


@pytest.mark.parametrize(("ack_failures", "state"), [(True, None), (False, State.RETRYING)])
def test_a_failure_is_shown_as_retrying_unless_it_is_acknowledged(
    monkeypatch: pytest.MonkeyPatch, ack_failures: bool, state: State | None
) -> None:
    monkeypatch.setattr(Conf, "ACK_FAILURES", ack_failures)
    token = _running.set({"id": "7", "func": COUNT, "args": (), "kwargs": {}, "ack_id": 1})
    try:
        verdict = DjangoQRunner().verdict(ValueError())
    finally:
        _running.reset(token)
    assert (verdict.state if verdict else None) == state


def test_a_cluster_is_found_although_dead_clusters_are_before_it_in_the_list() -> None:
    cache, living = get_broker().cache, f"{Conf.Q_STAT}:living"
    before = cache.get(Conf.Q_STAT)
    cache.set(living, SignedPackage.dumps(Status(1, "living"), compressed=True), 60)
    cache.set(Conf.Q_STAT, [*(f"dead-{number}" for number in range(7)), living])
    try:
        assert DjangoQRunner().is_listening(q_tasks.count) is True
    finally:
        cache.delete(living)
        cache.set(Conf.Q_STAT, before)


@pytest.mark.service
class TestCluster:
    def test_a_function_that_is_followed_by_its_name_is_shown(
        self, django_q_worker: WorkerProcess, tmp_path: Path
    ) -> None:
        django_q_worker.pause()
        async_task(q_tasks.follow_me, str(tmp_path / "log"))
        assert only_row().state == State.QUEUED
        django_q_worker.start()
        row = wait_for_end(only_row())
        assert (row.state, row.attempt, logged_lines(tmp_path)) == (State.SUCCEEDED, 1, ["follow_me"])

    def test_each_task_of_a_chain_has_its_own_row(self, django_q_worker: WorkerProcess, tmp_path: Path) -> None:
        django_q_worker.start()
        log = str(tmp_path / "log")
        async_chain([(COUNT, (log, 1, 0.0)), (COUNT, (log, 2, 0.0))], group="one", cached=False)
        wait_until(lambda: TaskState.objects.filter(state=State.SUCCEEDED).count() == 2, "both have run")
        assert sorted(row.call["args"] for row in TaskState.objects.all()) == [[log, 1, 0.0], [log, 2, 0.0]]

    def test_the_task_of_a_killed_worker_is_lost_and_then_redelivered(
        self, django_q_worker: WorkerProcess, tmp_path: Path
    ) -> None:
        django_q_worker.start()
        row = telltale.enqueue(q_tasks.die_once, str(tmp_path / "log"))
        wait_until(lambda: logged_lines(tmp_path) == ["die_once"], "it has run")
        stored = TaskState.objects.get(pk=row.pk)
        lost = store.get_task(row.pk, now=stored.lease_until + 1)
        assert lost is not None
        assert lost.state == State.LOST
        wait_until(lambda: reload(row).state == State.SUCCEEDED, "it was redelivered")
        assert (reload(row).attempt, logged_lines(tmp_path)) == (2, ["die_once", "die_once"])

    def test_a_cancelled_task_is_acknowledged(self, django_q_worker: WorkerProcess, tmp_path: Path) -> None:
        django_q_worker.start()
        row = telltale.enqueue(q_tasks.wait_for_file, str(tmp_path / "log"), str(tmp_path / "file"))
        wait_until(lambda: reload(row).state == State.RUNNING, "it runs")
        telltale.cancel(row)
        assert wait_for_end(row).state == State.CANCELLED
        wait_until(lambda: OrmQ.objects.count() == 0, "its package is acknowledged")
