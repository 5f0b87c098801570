"""Dramatiq beyond the contract: its own calls, delays, retries, time limits, pipelines."""

import time
from pathlib import Path

import dramatiq
import pytest
import redis
from django.contrib.auth.models import User

import telltale
from telltale import store
from telltale.core.states import State
from telltale.dispatch.runner import EnqueueFailed
from telltale.models import TaskState
from telltale.owners import owned_by
from telltale.runners.dramatiq import DramatiqRunner, TelltaleMiddleware
from telltale.testing.runners import logged_lines, reload, wait_for_end, wait_until
from tests.app import dramatiq_tasks
from tests.runners.workers import WorkerProcess
from tests.servers import Redis, free_port

pytestmark = pytest.mark.django_db(transaction=True)


def the_row() -> TaskState:
    return TaskState.objects.get()


def test_without_redis_a_call_is_its_own_error_and_leaves_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    broker, nowhere = dramatiq.get_broker(), Redis.client_at(free_port())
    unreachable = {name: nowhere.register_script(script.script) for name, script in broker.scripts.items()}
    monkeypatch.setattr(broker, "scripts", unreachable)
    monkeypatch.setattr(broker, "client", nowhere)
    with pytest.raises(redis.exceptions.ConnectionError):
        dramatiq_tasks.fail.send("log")
    with pytest.raises(EnqueueFailed, match="dramatiq could not take"):
        telltale.enqueue(dramatiq_tasks.fail, "log")
    assert TaskState.objects.count() == 0


def test_after_a_run_the_actors_function_is_itself_again() -> None:
    middleware, message = TelltaleMiddleware(), dramatiq_tasks.count.message("log", 1, 0.0)
    middleware.before_process_message(dramatiq.get_broker(), message)
    assert DramatiqRunner().current_call() is not None
    middleware.after_process_message(dramatiq.get_broker(), message)
    assert DramatiqRunner().current_call() is None


@pytest.mark.service
class TestWorker:
    def test_its_own_send_makes_the_row_at_once(self, dramatiq_worker: WorkerProcess, tmp_path: Path) -> None:
        dramatiq_worker.pause()
        ada = User.objects.create_user("ada")
        with owned_by(ada):
            message = dramatiq_tasks.count.send(str(tmp_path / "log"), 3, 0.0)
        row = the_row()
        assert (row.state, row.runner_id, row.owner, row.label) == (State.QUEUED, message.message_id, ada, "Count")
        dramatiq_worker.start()
        assert wait_for_end(row).state == State.SUCCEEDED

    def test_a_delayed_message_says_when_it_is_due_and_runs_then(
        self, dramatiq_worker: WorkerProcess, tmp_path: Path
    ) -> None:
        dramatiq_worker.start()
        before = store.now()
        dramatiq_tasks.count.send_with_options(args=(str(tmp_path / "log"), 1, 0.0), delay=1_500)
        assert (the_row().state, the_row().due_at) == (State.QUEUED, pytest.approx(before + 1.5, abs=0.5))
        ended = wait_for_end(the_row())
        assert (ended.state, ended.attempt) == (State.SUCCEEDED, 1)
        assert TaskState.objects.count() == 1

    def test_a_retry_shows_retrying_with_its_time_and_then_the_last_failure(
        self, dramatiq_worker: WorkerProcess, tmp_path: Path
    ) -> None:
        dramatiq_worker.start()
        row = telltale.enqueue(dramatiq_tasks.fail_twice, str(tmp_path / "log"))
        wait_until(lambda: reload(row).state == State.RETRYING and reload(row).due_at is not None, "it is retrying")
        assert reload(row).due_at == pytest.approx(store.now() + 1, abs=2)
        ended = wait_for_end(row)
        assert (ended.state, ended.attempt) == (State.FAILED, 2)
        assert logged_lines(tmp_path) == ["fail_twice", "fail_twice"]

    def test_an_actor_that_outlasts_its_time_says_so(self, dramatiq_worker: WorkerProcess, tmp_path: Path) -> None:
        dramatiq_worker.start()
        row = wait_for_end(telltale.enqueue(dramatiq_tasks.exceed_time_limit, str(tmp_path / "log")))
        assert (row.state, row.error) == (State.FAILED, "The task took too long and was stopped.")

    def test_a_message_that_grew_too_old_says_that_no_worker_was_free(
        self, dramatiq_worker: WorkerProcess, tmp_path: Path
    ) -> None:
        dramatiq_worker.pause()
        row = telltale.enqueue(dramatiq_tasks.expire, str(tmp_path / "log"))
        time.sleep(1.0)
        dramatiq_worker.start()
        ended = wait_for_end(row)
        assert (ended.state, ended.error) == (State.FAILED, "The task expired before a worker was free.")
        assert logged_lines(tmp_path) == []

    def test_each_link_of_a_pipeline_belongs_to_whoever_asked_for_it(
        self, dramatiq_worker: WorkerProcess, tmp_path: Path
    ) -> None:
        dramatiq_worker.start()
        ada, log = User.objects.create_user("ada"), str(tmp_path / "log")
        first = dramatiq_tasks.count.message(log, 1, 0.0)
        second = dramatiq_tasks.count.message_with_options(args=(log, 2, 0.0), pipe_ignore=True)
        with owned_by(ada):
            (first | second).run()
        wait_until(lambda: TaskState.objects.filter(state=State.SUCCEEDED).count() == 2, "both links have run")
        assert {row.owner for row in TaskState.objects.all()} == {ada}

    def test_an_untracked_actor_has_no_row(self, dramatiq_worker: WorkerProcess, tmp_path: Path) -> None:
        dramatiq_worker.start()
        dramatiq_tasks.untracked.send(str(tmp_path / "log"))
        wait_until(lambda: logged_lines(tmp_path) == ["untracked"], "it has run")
        assert TaskState.objects.count() == 0
