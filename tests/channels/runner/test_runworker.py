"""Under Channels' own `runworker`, which takes all messages at once: no task waits or runs for ever."""

import asyncio
import time
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.contrib.auth.models import User
from django.db import InterfaceError

import telltale
from telltale import store
from telltale.channels.runner.backlog import Backlog
from telltale.channels.runner.runner import CLAIM_S
from telltale.channels.runner.task_message import TaskMessage
from telltale.core.states import State
from telltale.dispatch.control import cancel, retry, why_no_retry
from telltale.dispatch.task_header import TaskHeader
from telltale.models import StoredNotice, TaskState
from telltale.owners import Owner
from telltale.testing.runners import logged_lines, reload, wait_for_end, wait_until
from tests.app import channels_tasks
from tests.app.channels_tasks import Background, Special
from tests.channels.runner.conftest import CHANNELS, EXPIRY_S, env_of
from tests.channels.runner.layers import layer, pubsub_layer
from tests.runners.conftest import RunWorker
from tests.runners.workers import WorkerProcess, django_command
from tests.servers import Redis

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.service, pytest.mark.usefixtures("short_expiry")]

NOT_STARTED = "No worker started this task."


def send_by_layer(channel: str, message: dict[str, Any]) -> None:
    async_to_sync(get_channel_layer().send)(channel, message)


class TestRunning:
    def test_sync_and_async_handlers_report_progress_and_end(self, runworker: WorkerProcess, tmp_path: Path) -> None:
        runworker.start()
        log = str(tmp_path / "log")
        rows = [telltale.enqueue(Background.count, log, 3, 0.0), telltale.enqueue(Background.count_async, log, 4)]
        ended = [wait_for_end(row) for row in rows]
        assert [(row.state, row.snapshot.progress.current, row.attempt) for row in ended] == [
            (State.SUCCEEDED, 3, 1),
            (State.SUCCEEDED, 4, 1),
        ]

    def test_an_untracked_handler_gets_the_message(self, runworker: WorkerProcess, tmp_path: Path) -> None:
        runworker.start()
        for kind in ("untracked", "untracked.async"):
            send_by_layer("my-background-task", {"type": kind, "log": str(tmp_path / "log"), "number": 7})
        wait_until(lambda: set(logged_lines(tmp_path)) == {"untracked-7", "untracked_async-7"}, "both have run")
        assert TaskState.objects.count() == 0

    def test_a_tracked_handler_that_the_layer_itself_was_sent_gets_the_keys_and_a_row(
        self, runworker: WorkerProcess, tmp_path: Path
    ) -> None:
        runworker.start()
        send_by_layer("my-background-task", {"type": "import.contacts", "upload_id": 7, "log": str(tmp_path / "log")})
        wait_until(TaskState.objects.exists, "it has a row")
        row = wait_for_end(TaskState.objects.get())
        assert (row.state, row.label, row.owner) == (State.SUCCEEDED, "Import contacts", None)
        assert logged_lines(tmp_path) == ["import-7"]

    def test_a_failure_loses_nothing_that_waits_in_the_process(self, runworker: WorkerProcess, tmp_path: Path) -> None:
        runworker.start()
        log = str(tmp_path / "log")
        bad = [telltale.enqueue(task, log) for task in (Background.fail, Background.crash, Background.exits)]
        send_by_layer("my-background-task", {"type": "nowhere"})
        send_by_layer("my-background-task", {"type": "_private"})
        good = telltale.enqueue(Background.count, log, 1, 0.0)
        assert wait_for_end(good).state == State.SUCCEEDED
        assert {wait_for_end(row).state for row in bad} == {State.FAILED}
        assert logged_lines(tmp_path) == ["fail", "crash", "exits", "count"]

    def test_a_cancelled_task_stops_and_the_next_one_runs(self, runworker: WorkerProcess, tmp_path: Path) -> None:
        runworker.start()
        log = str(tmp_path / "log")
        running, waiting = (telltale.enqueue(Background.wait_for_file, log, str(tmp_path / "x")) for _ in range(2))
        after = telltale.enqueue(Background.count, log, 1, 0.0)
        wait_until(lambda: reload(running).state == State.RUNNING, "it runs")
        assert cancel(waiting)
        assert cancel(running)
        assert {wait_for_end(row).state for row in (running, waiting)} == {State.CANCELLED}
        assert wait_for_end(after).state == State.SUCCEEDED
        assert logged_lines(tmp_path) == ["wait_for_file", "count"]

    def test_a_cancelled_coroutine_stops_and_the_next_one_runs(self, runworker: WorkerProcess, tmp_path: Path) -> None:
        runworker.start()
        log = str(tmp_path / "log")
        row = telltale.enqueue(Background.wait_for_file_async, log, str(tmp_path / "x"))
        after = telltale.enqueue(Background.count_async, log, 1)
        wait_until(lambda: reload(row).state == State.RUNNING, "it runs")
        assert cancel(row)
        assert wait_for_end(row).state == State.CANCELLED
        assert wait_for_end(after).state == State.SUCCEEDED

    def test_a_busy_channel_blocks_no_other(self, runworker: WorkerProcess, tmp_path: Path) -> None:
        runworker.start()
        file = tmp_path / "file"
        busy = telltale.enqueue(Background.wait_for_file, str(tmp_path / "busy"), str(file))
        wait_until(lambda: reload(busy).state == State.RUNNING, "it runs")
        send_by_layer("plain-task", {"type": "greet", "log": str(tmp_path / "log"), "number": 1})
        other = telltale.enqueue(Special.count, str(tmp_path / "log2"), 1, 0.0)
        assert wait_for_end(other).state == State.SUCCEEDED
        wait_until(lambda: logged_lines(tmp_path) == ["plain-1"], "the sync consumer of Channels has run")
        assert reload(busy).state == State.RUNNING
        file.touch()
        assert wait_for_end(busy).state == State.SUCCEEDED

    def test_a_message_that_is_delivered_twice_runs_once(self, runworker: WorkerProcess, tmp_path: Path) -> None:
        runworker.pause()
        log = str(tmp_path / "log")
        row = telltale.enqueue(Background.count, log, 1, 0.0)
        message = TaskMessage(
            handler="count",
            args=[log, 1, 0.0],
            kwargs={},
            header=TaskHeader(task_id=row.pk, owner=Owner()),
            runner_id=str(row.runner_id),
        )
        send_by_layer("my-background-task", message.to_dict())
        runworker.start()
        after = telltale.enqueue(Background.count, str(tmp_path / "log2"), 1, 0.0)
        assert wait_for_end(after).state == State.SUCCEEDED
        assert (reload(row).state, reload(row).attempt) == (State.SUCCEEDED, 1)
        assert logged_lines(tmp_path) == ["count"]

    def test_a_message_whose_handler_is_gone_ends_as_failed(self, runworker: WorkerProcess) -> None:
        runworker.pause()
        row = telltale.enqueue(Background.fail, "log")
        async_to_sync(get_channel_layer().flush)()
        header = TaskHeader(task_id=row.pk, owner=Owner())
        message = TaskMessage(handler="gone", args=[], kwargs={}, header=header, runner_id=str(row.runner_id))
        send_by_layer("my-background-task", message.to_dict())
        runworker.start()
        ended = wait_for_end(row)
        assert (ended.state, ended.error) == (State.FAILED, "The worker does not know this task.")
        assert "no tracked handler 'gone'" in ended.detail


@pytest.mark.parametrize("kind", ["core", "pubsub"])
def test_with_several_workers_each_task_runs_once(
    kind: str, settings: Any, run_worker: RunWorker, redis: Redis, tmp_path: Path
) -> None:
    """Redis pub/sub delivers each message to all workers; the other layer repeats one now and then."""
    settings.CHANNEL_LAYERS = {"default": (pubsub_layer if kind == "pubsub" else layer)(redis.url)}
    env = env_of(redis, **({"TELLTALE_TEST_PUBSUB": "yes"} if kind == "pubsub" else {}))
    command = django_command("runworker", *CHANNELS)
    with ExitStack() as stack:
        for _ in range(3):
            [worker] = islice(run_worker(channels_tasks, command, "Running worker", **env), 1)
            stack.callback(worker.kill)
            worker.start()
        if kind == "pubsub":
            wait_until(lambda: subscribers(redis) == 3, "all have subscribed")
        rows = [telltale.enqueue(Background.count, str(tmp_path / "log"), 1, 0.0) for _ in range(30)]
        assert {(wait_for_end(row).state, reload(row).attempt) for row in rows} == {(State.SUCCEEDED, 1)}
        time.sleep(0.5)
        assert logged_lines(tmp_path) == ["count"] * 30


def subscribers(redis: Redis) -> int:
    """How many workers would receive a task that is sent now, by Redis pub/sub."""
    with redis.client() as client:
        [(_channel, number)] = client.pubsub_numsub("my-background-task")
        return int(number)


def end_unstarted(row: TaskState) -> TaskState:
    """Read the task as after the time in which a worker must begin it."""
    ended = store.get_task(row.pk, now=row.created_at + EXPIRY_S + CLAIM_S + 1)
    assert ended is not None
    assert (ended.state, ended.error, ended.started_at) == (State.FAILED, NOT_STARTED, None)
    return ended


class TestWaiting:
    def test_a_task_that_no_worker_takes_ends_after_the_expiry_and_can_be_retried(
        self, runworker: WorkerProcess, tmp_path: Path
    ) -> None:
        runworker.pause()
        ada = User.objects.create_user("ada")
        row = telltale.enqueue(Background.count, str(tmp_path / "log"), 1, 0.0, owner=ada)
        before = store.get_task(row.pk, now=row.created_at + EXPIRY_S + CLAIM_S - 1)
        assert before is not None
        assert before.state == State.QUEUED
        ended = end_unstarted(row)
        assert StoredNotice.objects.count() == 1
        assert why_no_retry(ended) is None
        retry(ended)
        runworker.start()
        wait_until(lambda: reload(row).state == State.SUCCEEDED, "the second attempt succeeds")
        assert reload(row).attempt == 2
        assert logged_lines(tmp_path) == ["count"]

    def test_a_message_that_arrives_after_its_task_has_ended_does_not_run(
        self, runworker: WorkerProcess, redis: Redis, tmp_path: Path
    ) -> None:
        runworker.pause()
        row = telltale.enqueue(Background.count, str(tmp_path / "log"), 1, 0.0)
        with redis.client() as client:
            client.persist("asgimy-background-task")
        end_unstarted(row)
        runworker.start()
        after = telltale.enqueue(Special.count, str(tmp_path / "log2"), 1, 0.0)
        assert wait_for_end(after).state == State.SUCCEEDED
        time.sleep(0.3)
        assert reload(row).state == State.FAILED
        assert logged_lines(tmp_path) == []

    def test_what_waits_in_the_process_stays_queued_as_long_as_the_process_lives(
        self, runworker: WorkerProcess, tmp_path: Path
    ) -> None:
        runworker.start()
        log, file = str(tmp_path / "log"), tmp_path / "file"
        running, waiting = (telltale.enqueue(Background.wait_for_file, log, str(file)) for _ in range(2))
        start_by = TaskState.objects.get(pk=waiting.pk).lease_until
        wait_until(lambda: TaskState.objects.get(pk=waiting.pk).lease_until > start_by + 3, "it is given more time")
        assert TaskState.objects.get(pk=waiting.pk).state == State.QUEUED
        file.touch()
        assert [(wait_for_end(row).state, reload(row).attempt) for row in (running, waiting)] == [
            (State.SUCCEEDED, 1),
            (State.SUCCEEDED, 1),
        ]

    def test_a_killed_process_loses_what_it_runs_and_fails_what_waited_in_it(
        self, runworker: WorkerProcess, tmp_path: Path
    ) -> None:
        runworker.start()
        log, file = str(tmp_path / "log"), tmp_path / "file"
        rows = [telltale.enqueue(Background.wait_for_file, log, str(file)) for _ in range(4)]
        wait_until(lambda: reload(rows[0]).state == State.RUNNING, "the first runs")
        time.sleep(0.5)
        runworker.kill()
        assert [wait_for_end(row).state for row in rows] == [State.LOST, *[State.FAILED] * 3]
        assert {reload(row).error for row in rows[1:]} == {NOT_STARTED}
        file.touch()
        runworker.start()
        for row in rows:
            retry(reload(row))
        wait_until(lambda: {reload(row).state for row in rows} == {State.SUCCEEDED}, "all succeed")
        assert {reload(row).attempt for row in rows} == {2}
        assert logged_lines(tmp_path) == ["wait_for_file"] * 5

    def test_a_retry_leaves_the_earlier_message_without_effect(
        self, runworker: WorkerProcess, redis: Redis, tmp_path: Path
    ) -> None:
        runworker.pause()
        row = telltale.enqueue(Background.count, str(tmp_path / "log"), 1, 0.0)
        assert cancel(row)
        retry(reload(row))
        with redis.client() as client:
            assert client.zcard("asgimy-background-task") == 2
        runworker.start()
        assert (wait_for_end(row).state, reload(row).attempt) == (State.SUCCEEDED, 2)
        time.sleep(0.3)
        assert logged_lines(tmp_path) == ["count"]


def test_a_driver_that_raises_does_not_end_the_loop_that_gives_waiting_tasks_more_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[Any] = []

    def postpone(ids: Any, _until: float) -> None:
        calls.append(ids)
        raise InterfaceError("connection already closed")  # Which is no `DatabaseError`.

    async def scenario() -> None:
        header = TaskHeader(task_id=uuid4(), owner=Owner())
        message = TaskMessage(handler="count", args=(), kwargs={}, header=header, runner_id="1").to_dict()
        received: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        received.put_nowait(message)
        async with Backlog(received.get, kept_s=0.03), asyncio.timeout(30):
            while len(calls) < 2:  # noqa: ASYNC110 (another thread changes it)
                await asyncio.sleep(0.01)

    monkeypatch.setattr(store, "postpone_start_by", postpone)
    asyncio.run(scenario())
