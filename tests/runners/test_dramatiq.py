"""Dramatiq beyond the contract: its own calls, delays, retries, time limits, pipelines."""

import time
from pathlib import Path
from typing import Any

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
from telltale.testing.runners import logged_lines, wait_for_end, wait_until
from tests.app import dramatiq_tasks
from tests.runners.own_calls import RetryTests, only_row
from tests.runners.workers import WorkerProcess, claim_elsewhere
from tests.servers import Redis, free_port

pytestmark = pytest.mark.django_db(transaction=True)


def test_without_redis_every_call_raises_and_leaves_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    broker, unreachable = dramatiq.get_broker(), Redis.client_at(free_port())
    scripts = {name: unreachable.register_script(script.script) for name, script in broker.scripts.items()}
    monkeypatch.setattr(broker, "scripts", scripts)
    monkeypatch.setattr(broker, "client", unreachable)
    with pytest.raises(redis.exceptions.ConnectionError):
        dramatiq_tasks.fail.send("log")
    with pytest.raises(EnqueueFailed, match="dramatiq could not take"):
        telltale.enqueue(dramatiq_tasks.fail, "log")
    assert TaskState.objects.count() == 0


def test_after_a_message_is_processed_there_is_no_current_call() -> None:
    middleware, message = TelltaleMiddleware(), dramatiq_tasks.count.message("log", 1, 0.0)
    middleware.before_process_message(dramatiq.get_broker(), message)
    assert DramatiqRunner().current_call() is not None
    middleware.after_process_message(dramatiq.get_broker(), message)
    assert DramatiqRunner().current_call() is None


@pytest.mark.service
class TestWorker(RetryTests):
    queue = "default"

    @pytest.fixture
    def worker(self, dramatiq_worker: WorkerProcess) -> WorkerProcess:
        return dramatiq_worker

    def call(self, task: Any, **kwargs: Any) -> str:
        return str(task.send(**kwargs).message_id)

    def test_a_delayed_message_is_shown_with_its_time_and_runs_then(
        self, worker: WorkerProcess, tmp_path: Path
    ) -> None:
        worker.start()
        before = store.now()
        dramatiq_tasks.count.send_with_options(args=(str(tmp_path / "log"), 1, 0.0), delay=3_000)
        after = store.now()
        assert only_row().due_at is not None
        assert before + 3 <= only_row().due_at <= after + 3
        ended = wait_for_end(only_row())
        assert (ended.state, ended.attempt) == (State.SUCCEEDED, 1)
        assert TaskState.objects.count() == 1

    def test_an_actor_that_exceeds_its_time_limit_fails_with_a_text_that_says_so(
        self, worker: WorkerProcess, tmp_path: Path
    ) -> None:
        worker.start()
        row = wait_for_end(telltale.enqueue(dramatiq_tasks.exceed_time_limit, str(tmp_path / "log")))
        assert (row.state, row.error) == (State.FAILED, "The task took too long and was stopped.")

    def test_an_expired_message_fails_with_a_text_that_says_so(self, worker: WorkerProcess, tmp_path: Path) -> None:
        worker.pause()
        row = telltale.enqueue(dramatiq_tasks.expire, str(tmp_path / "log"))
        time.sleep(1.0)
        worker.start()
        ended = wait_for_end(row)
        assert (ended.state, ended.error) == (State.FAILED, "The task expired before a worker was free.")
        assert logged_lines(tmp_path) == []

    def test_an_expired_message_of_a_task_that_runs_elsewhere_does_not_end_it(
        self, worker: WorkerProcess, tmp_path: Path
    ) -> None:
        worker.pause()
        row = telltale.enqueue(dramatiq_tasks.expire, str(tmp_path / "log"))
        claim_elsewhere(row)
        time.sleep(1.0)
        worker.start()
        later = telltale.enqueue(dramatiq_tasks.count, str(tmp_path / "log"), 1, 0.0)
        assert wait_for_end(later).state == State.SUCCEEDED
        assert store.get_task(row.pk).state == State.RUNNING

    def test_all_messages_of_a_pipeline_have_the_same_owner(self, worker: WorkerProcess, tmp_path: Path) -> None:
        worker.start()
        ada, log = User.objects.create_user("ada"), str(tmp_path / "log")
        first = dramatiq_tasks.count.message(log, 1, 0.0)
        second = dramatiq_tasks.count.message_with_options(args=(log, 2, 0.0), pipe_ignore=True)
        with owned_by(ada):
            (first | second).run()
        wait_until(lambda: TaskState.objects.filter(state=State.SUCCEEDED).count() == 2, "both have run")
        assert {row.owner for row in TaskState.objects.all()} == {ada}
