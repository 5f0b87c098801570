"""Our worker of the channel layer: what it takes, what it gives back, and what it survives."""

import asyncio
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.contrib.auth.models import User

import telltale
from telltale.channels.runner.task_message import TaskMessage
from telltale.channels.worker.redis_queue import Delivery, RedisQueue
from telltale.channels.worker.worker import Worker
from telltale.core.states import State
from telltale.dispatch.task_header import TaskHeader
from telltale.models import TaskState
from telltale.owners import Owner
from telltale.testing.runners import logged_lines, reload, wait_for_end, wait_until
from tests.app import channels_tasks
from tests.app.channels_tasks import Background, Misrouted, Special, Unrouted
from tests.channels.runner.conftest import worker_of
from tests.channels.runner.layers import layer
from tests.runners.conftest import RunWorker
from tests.runners.workers import WorkerProcess
from tests.servers import Redis

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.service]

CHANNEL = ["my-background-task"]
KEY = "asgimy-background-task"


def send_by_layer(channel: str, message: dict[str, Any]) -> None:
    async_to_sync(get_channel_layer().send)(channel, message)


def waiting_messages(redis: Redis) -> int:
    with redis.client() as client:
        return int(client.zcard(KEY))


class TestTaking:
    def test_what_it_can_not_begin_stays_in_the_layer_and_survives_its_kill(
        self, single_worker: WorkerProcess, redis: Redis, tmp_path: Path
    ) -> None:
        single_worker.start()
        file = tmp_path / "file"
        rows = [telltale.enqueue(Background.wait_for_file, str(tmp_path / "log"), str(file)) for _ in range(5)]
        wait_until(lambda: reload(rows[0]).state == State.RUNNING, "the first runs")
        assert waiting_messages(redis) == 4
        single_worker.kill()
        file.touch()
        single_worker.start()
        assert [wait_for_end(row).state for row in rows] == [State.LOST, *[State.SUCCEEDED] * 4]
        assert {reload(row).attempt for row in rows} == {1}

    def test_a_worker_that_stops_finishes_what_runs_and_leaves_the_rest(
        self, single_worker: WorkerProcess, redis: Redis, tmp_path: Path
    ) -> None:
        single_worker.start()
        rows = [telltale.enqueue(Background.count, str(tmp_path / "log"), 10, 0.1) for _ in range(4)]
        wait_until(lambda: reload(rows[0]).state == State.RUNNING, "the first runs")
        single_worker.pause()
        assert reload(rows[0]).state == State.SUCCEEDED
        assert {reload(row).state for row in rows[1:]} == {State.QUEUED}
        assert waiting_messages(redis) == 3
        single_worker.start()
        assert {wait_for_end(row).state for row in rows} == {State.SUCCEEDED}
        assert len(logged_lines(tmp_path)) == 4

    def test_a_second_signal_ends_it_at_once_and_its_task_is_lost(
        self, single_worker: WorkerProcess, tmp_path: Path
    ) -> None:
        single_worker.start()
        row = telltale.enqueue(Background.wait_for_file, str(tmp_path / "log"), str(tmp_path / "x"))
        wait_until(lambda: reload(row).state == State.RUNNING, "it runs")
        single_worker.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        assert single_worker.is_alive()
        single_worker.send_signal(signal.SIGTERM)
        wait_until(lambda: not single_worker.is_alive(), "it has ended")
        assert wait_for_end(row).state == State.LOST

    def test_it_survives_a_layer_that_is_gone_for_a_while(
        self, single_worker: WorkerProcess, redis: Redis, tmp_path: Path
    ) -> None:
        single_worker.start()
        redis.stop()
        time.sleep(1.5)
        redis.start()
        row = telltale.enqueue(Background.count, str(tmp_path / "log"), 1, 0.0)
        assert wait_for_end(row).state == State.SUCCEEDED

    def test_all_channels_get_their_turn(self, single_worker: WorkerProcess, tmp_path: Path) -> None:
        single_worker.pause()
        log = str(tmp_path / "log")
        busy = [telltale.enqueue(Background.count, log, 5, 0.02) for _ in range(20)]
        quiet = telltale.enqueue(Special.import_contacts, 7, log)
        single_worker.start()
        assert wait_for_end(quiet).state == State.SUCCEEDED
        assert logged_lines(tmp_path).index("import-7") <= 4
        assert {wait_for_end(row).state for row in busy} == {State.SUCCEEDED}


class TestConcurrency:
    def test_workers_that_stop_and_start_while_tasks_arrive_lose_none(
        self, worker: WorkerProcess, tmp_path: Path
    ) -> None:
        rows: list[TaskState] = []
        for _restart in range(4):
            worker.start()
            for _ in range(10):
                rows.append(telltale.enqueue(Background.count, str(tmp_path / "log"), 2, 0.01))
                time.sleep(0.01)
            worker.pause()
        worker.start()
        ended = [wait_for_end(row) for row in rows]
        assert {(row.state, row.attempt) for row in ended} == {(State.SUCCEEDED, 1)}
        assert logged_lines(tmp_path) == ["count"] * 40

    @pytest.mark.parametrize("task", [Background.wait_for_file, Background.wait_for_file_async], ids=["sync", "async"])
    def test_as_many_run_at_once_as_it_has_slots(
        self, worker: WorkerProcess, redis: Redis, tmp_path: Path, task: Any
    ) -> None:
        worker.start()
        file = tmp_path / "file"
        rows = [telltale.enqueue(task, str(tmp_path / "log"), str(file)) for _ in range(3)]
        wait_until(lambda: [reload(row).state for row in rows[:2]] == [State.RUNNING] * 2, "two run")
        time.sleep(0.3)
        assert reload(rows[2]).state == State.QUEUED
        assert waiting_messages(redis) == 1
        file.touch()
        assert {wait_for_end(row).state for row in rows} == {State.SUCCEEDED}

    def test_a_busy_slot_blocks_no_sync_consumer_of_channels(self, worker: WorkerProcess, tmp_path: Path) -> None:
        worker.start()
        file = tmp_path / "file"
        row = telltale.enqueue(Background.wait_for_file, str(tmp_path / "busy"), str(file))
        wait_until(lambda: reload(row).state == State.RUNNING, "it runs")
        for number in (1, 2):
            send_by_layer("plain-task", {"type": "greet", "log": str(tmp_path / "log"), "number": number})
        wait_until(lambda: logged_lines(tmp_path) == ["plain-1", "plain-2"], "both have run")
        file.touch()
        assert wait_for_end(row).state == State.SUCCEEDED


class TestConsumers:
    def test_consumers_of_channels_and_untracked_handlers_run_beside_tasks(
        self, worker: WorkerProcess, tmp_path: Path
    ) -> None:
        worker.start()
        log = str(tmp_path / "log")
        for channel, kind in (
            ("plain-task", "greet"),
            ("plain-async-task", "greet"),
            ("my-background-task", "untracked"),
            ("my-background-task", "untracked.async"),
        ):
            send_by_layer(channel, {"type": kind, "log": log, "number": 7})
        expected = {"plain-7", "plain-async-7", "untracked-7", "untracked_async-7"}
        wait_until(lambda: set(logged_lines(tmp_path)) == expected, "all have run")
        assert TaskState.objects.count() == 0

    def test_a_consumer_that_fails_ends_neither_the_worker_nor_the_next_message(
        self, single_worker: WorkerProcess, tmp_path: Path
    ) -> None:
        single_worker.start()
        log = str(tmp_path / "log")
        send_by_layer("plain-task", {"type": "fail", "log": log})
        send_by_layer("plain-task", {"type": "nowhere"})
        send_by_layer("plain-task", {"no": "type"})
        send_by_layer("plain-task", {"type": "greet", "log": log, "number": 2})
        wait_until(lambda: logged_lines(tmp_path) == ["plain-fail", "plain-2"], "the next message is handled")

    def test_a_bad_message_ends_neither_the_worker_nor_the_next_task(
        self, single_worker: WorkerProcess, redis: Redis, tmp_path: Path
    ) -> None:
        single_worker.start()
        with redis.client() as client:
            client.zadd(KEY, {b"no message of the layer": 1.0, b"prefix12byte\x93\x01\x02\x03": 2.0})
        for telltale_header in ({"task": "no uuid"}, 7, {"task": None}):
            send_by_layer("my-background-task", {"type": "count", "telltale": telltale_header})
        bad = [telltale.enqueue(task, str(tmp_path / "bad")) for task in (Background.exits, Background.crash)]
        row = telltale.enqueue(Background.count, str(tmp_path / "log"), 1, 0.0)
        assert wait_for_end(row).state == State.SUCCEEDED
        assert {reload(one).state for one in bad} == {State.FAILED}

    def test_a_task_with_the_wrong_arguments_fails(self, worker: WorkerProcess) -> None:
        worker.start()
        row = wait_for_end(telltale.enqueue(Background.count, "log"))
        assert row.state == State.FAILED
        assert "missing 2 required positional arguments" in row.detail

    def test_a_task_that_a_task_enqueues_has_the_same_owner(self, worker: WorkerProcess, tmp_path: Path) -> None:
        worker.start()
        ada = User.objects.create_user("ada")
        row = telltale.enqueue(Background.starts_a_child, str(tmp_path / "log"), owner=ada)
        assert wait_for_end(row).state == State.SUCCEEDED
        child = wait_for_end(TaskState.objects.exclude(pk=row.pk).get())
        assert (child.state, child.owner) == (State.SUCCEEDED, ada)

    def test_a_sync_handler_can_send_to_a_group(self, worker: WorkerProcess, tmp_path: Path) -> None:
        worker.start()
        layer = get_channel_layer()

        async def join() -> str:
            channel: str = await layer.new_channel()
            await layer.group_add("answers", channel)
            return channel

        channel = async_to_sync(join)()
        row = telltale.enqueue(Background.answers, str(tmp_path / "log"), "answers")
        assert wait_for_end(row).state == State.SUCCEEDED
        assert async_to_sync(layer.receive)(channel) == {"type": "answer"}


class TestHandlersThatAreNotThere:
    def test_a_channel_that_is_not_routed_ends_the_task(self, misrouting_worker: WorkerProcess, tmp_path: Path) -> None:
        misrouting_worker.start()
        rows = [telltale.enqueue(task, str(tmp_path / "log")) for task in (Unrouted.count, Misrouted.count)]
        for row in rows:
            ended = wait_for_end(row)
            assert (ended.state, ended.error) == (State.FAILED, "The worker does not know this task.")
            assert "No application configured for channel name" in ended.detail
        after = telltale.enqueue(Background.count, str(tmp_path / "log"), 1, 0.0)
        assert wait_for_end(after).state == State.SUCCEEDED
        assert logged_lines(tmp_path) == ["count"]

    def test_a_consumer_under_a_channel_not_its_own_ends_the_task(self, misrouting_worker: WorkerProcess) -> None:
        misrouting_worker.pause()
        row = telltale.enqueue(Misrouted.count, "log")
        async_to_sync(get_channel_layer().flush)()
        header = TaskHeader(task_id=row.pk, owner=Owner())
        message = TaskMessage(handler="count", args=["log"], kwargs={}, header=header, runner_id=str(row.runner_id))
        send_by_layer("wrong-task", message.to_dict())
        misrouting_worker.start()
        assert "declares the channel 'misrouted-task' but is routed under 'wrong-task'" in wait_for_end(row).detail


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--layer", "memory"], "CHANNEL_LAYERS['memory'] (channels.layers.InMemoryChannelLayer) keeps no messages"),
        (["--layer", "pubsub"], "Use channels_redis.core.RedisChannelLayer"),
        (["--layer", "nowhere"], "CHANNEL_LAYERS has no layer 'nowhere': add one"),
        (["--application", "tests.nowhere.application"], "--application is 'tests.nowhere.application', which can't"),
        (["--concurrency", "0"], "--concurrency is 0, but a worker handles at least 1"),
        (["--channels", "my task"], "--channels names 'my task': Channel name must be"),
        (["--channels", "specific!abc"], "--channels names 'specific!abc', a consumer's own channel"),
    ],
    ids=["memory", "pubsub", "no-layer", "application", "concurrency", "name", "own-channel"],
)
def test_a_wrong_option_is_an_error_that_names_the_fix(
    options: list[str], message: str, settings: Any, redis: Redis
) -> None:
    from django.core.management import CommandError, call_command

    settings.CHANNEL_LAYERS = {
        **settings.CHANNEL_LAYERS,
        "memory": {"BACKEND": "channels.layers.InMemoryChannelLayer"},
        "pubsub": {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer", "CONFIG": {"hosts": [redis.url]}},
    }
    channels = [] if "--channels" in options else ["--channels", "my-background-task"]
    with pytest.raises(CommandError) as error:
        call_command("telltale", "worker", *channels, *options)
    assert message in str(error.value)


def test_it_takes_from_all_hosts_of_a_layer(settings: Any, redis: Redis, run_worker: RunWorker, tmp_path: Path) -> None:
    second_url = redis.url.replace("/0", "/1")
    settings.CHANNEL_LAYERS = {"default": layer(redis.url, second_url)}
    rows = [telltale.enqueue(Background.count, str(tmp_path / "log"), 1, 0.0) for _ in range(4)]
    assert waiting_messages(redis) == 2
    for worker in worker_of(run_worker, redis, TELLTALE_TEST_LAYER_2=second_url):
        worker.start()
        assert {wait_for_end(row).state for row in rows} == {State.SUCCEEDED}


def test_a_message_that_arrives_while_it_stops_is_given_back_to_its_place(redis: Redis, tmp_path: Path) -> None:
    rows = [telltale.enqueue(Background.count, str(tmp_path / "log"), 1, 0.0) for _ in range(2)]
    with redis.client() as client:
        before = client.zrange(KEY, 0, -1, withscores=True)

    class StoppingQueue(RedisQueue):
        async def take(self) -> Delivery | None:
            delivery = await super().take()
            worker._stop()
            return delivery

    async def stop_at_once() -> None:
        nonlocal worker
        worker = Worker(channels_tasks.application, StoppingQueue(get_channel_layer(), CHANNEL), concurrency=2)
        await worker.run(lambda: None)

    worker: Worker
    asyncio.run(stop_at_once())
    with redis.client() as client:
        assert client.zrange(KEY, 0, -1, withscores=True) == before
        assert 0 < client.ttl(KEY) <= 60
    assert {reload(row).state for row in rows} == {State.QUEUED}
    assert logged_lines(tmp_path) == []


def test_tasks_leave_no_threads_and_connections_behind(redis: Redis, tmp_path: Path) -> None:
    rows = [telltale.enqueue(Background.count, str(tmp_path / "log"), 1, 0.0) for _ in range(20)]
    seen: list[int] = []

    class CountingQueue(RedisQueue):
        async def take(self) -> Delivery | None:
            delivery = await super().take()
            seen.append(sum("ThreadPoolExecutor" in thread.name for thread in threading.enumerate()))
            if delivery is None:
                worker._stop()
            return delivery

    async def work() -> None:
        nonlocal worker
        worker = Worker(channels_tasks.application, CountingQueue(get_channel_layer(), CHANNEL), concurrency=3)
        await worker.run(lambda: None)

    worker: Worker
    before = threading.active_count()
    asyncio.run(work())
    assert {wait_for_end(row).state for row in rows} == {State.SUCCEEDED}
    assert max(seen) <= 4
    wait_until(lambda: threading.active_count() <= before + 2, "only the reporter and the saver stay")
