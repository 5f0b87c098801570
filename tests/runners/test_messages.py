"""Whether a runner still has the message of a waiting task: found where it waits, and unknown beyond the bounds."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import django_rq
import dramatiq
import pytest
from django_q.tasks import async_task
from huey.contrib.djhuey import HUEY
from rq import Queue

from telltale.dispatch import waiting_ids
from telltale.runners.celery import CeleryRunner
from telltale.runners.django_q import DjangoQRunner
from telltale.runners.dramatiq import DramatiqRunner
from telltale.runners.huey import HueyRunner
from telltale.runners.rq import RQRunner
from tests.app import celery_app, celery_tasks, dramatiq_tasks, huey_tasks, q_tasks, rq_tasks
from tests.runners.workers import celery_broker_at, huey_storage_at
from tests.servers import Redis

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def search_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting_ids, "REUSED_FOR_S", -1.0)


@pytest.fixture
def at_most(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sets how many messages a search reads."""
    return lambda number: monkeypatch.setattr(waiting_ids, "MAX_MESSAGES", number)


def answers(runner: Any, task: object, *runner_ids: str) -> list[bool | None]:
    return [runner.has_message(task, runner_id) for runner_id in runner_ids]


@pytest.mark.service
class TestCelery:
    @pytest.fixture(autouse=True)
    def empty_redis(self, redis: Redis) -> None:
        redis.forget()

    def ask(self, *runner_ids: str) -> list[bool | None]:
        return answers(CeleryRunner(), celery_tasks.fail, *runner_ids)

    def test_a_message_is_found_in_any_queue_and_priority_that_it_was_sent_to(self) -> None:
        ids = [
            celery_tasks.fail.apply_async(("log",), **options).id
            for options in ({}, {"queue": f"reports-{uuid4().hex}"}, {"priority": 9}, {"countdown": 60})
        ]
        celery_app.amqp.queues.select([])  # As in another process, which does not know the queue of reports.
        try:
            assert self.ask(*ids, "unknown") == [True, True, True, True, False]
        finally:
            del celery_app.amqp.queues

    def test_a_message_of_a_queue_that_was_purged_is_gone(self) -> None:
        runner_id = celery_tasks.fail.delay("log").id
        with celery_app.connection_for_write() as connection_:
            connection_.default_channel.queue_purge("celery")
        assert self.ask(runner_id) == [False]

    def test_of_a_message_that_a_worker_has_taken_and_not_acknowledged_it_is_unknown(self) -> None:
        taken, waiting = (celery_tasks.fail.delay("log").id for _ in range(2))
        with celery_app.connection_for_read() as connection_:
            queue = connection_.SimpleQueue("celery")
            queue.consumer.qos(prefetch_count=1)
            assert queue.get(timeout=30).headers["id"] == taken
            assert self.ask(taken, waiting, "unknown") == [None, True, False]

    def test_of_a_message_in_a_queue_that_is_too_long_it_is_unknown(self, at_most: Callable[[int], None]) -> None:
        oldest, *_others = [celery_tasks.fail.delay("log").id for _ in range(4)]
        at_most(3)
        assert self.ask(oldest, "unknown") == [None, None]
        at_most(4)
        assert self.ask(oldest, "unknown") == [True, False]

    def test_of_a_broker_other_than_redis_it_is_unknown(self) -> None:
        with celery_broker_at("memory://"):
            assert self.ask(celery_tasks.fail.delay("log").id) == [None]


@pytest.mark.service
class TestDramatiq:
    @pytest.fixture(autouse=True)
    def empty_redis(self, redis: Redis) -> None:
        redis.forget()

    def ask(self, *runner_ids: str) -> list[bool | None]:
        return answers(DramatiqRunner(), dramatiq_tasks.fail, *runner_ids)

    def test_a_message_is_found_also_if_it_is_delayed_and_until_it_is_acknowledged(self) -> None:
        sent = dramatiq_tasks.fail.send("log")
        delayed = dramatiq_tasks.fail.send_with_options(args=("log",), delay=60_000)
        consumer = dramatiq.get_broker().consume("default", timeout=30_000)
        message = next(consumer)
        assert self.ask(sent.message_id, delayed.message_id, "unknown") == [True, True, False]
        consumer.ack(message)
        assert self.ask(sent.message_id, delayed.message_id) == [False, True]

    def test_of_a_message_in_a_queue_that_is_too_long_it_is_unknown(self, at_most: Callable[[int], None]) -> None:
        for _ in range(4):
            dramatiq_tasks.fail.send("log")
        at_most(3)
        assert self.ask("unknown") == [None]
        at_most(4)
        assert self.ask("unknown") == [False]


@pytest.mark.service
@pytest.mark.parametrize("storage", ["sqlite", "redis"])
class TestHuey:
    @pytest.fixture(autouse=True)
    def empty_storage(self, storage: str, redis: Redis, tmp_path: Path) -> Iterator[None]:
        redis.forget()
        with huey_storage_at(redis.url if storage == "redis" else str(tmp_path / "huey")):
            yield

    def ask(self, *runner_ids: str) -> list[bool | None]:
        return answers(HueyRunner(), huey_tasks.fail, *runner_ids)

    def test_a_task_is_found_in_the_queue_and_in_the_schedule(self) -> None:
        waiting = huey_tasks.fail("log").id
        scheduled = huey_tasks.fail.schedule(("log",), delay=timedelta(hours=1))
        # The consumer moves it there, from the queue.
        HUEY.storage.dequeue()
        HUEY.add_schedule(HUEY.deserialize_task(HUEY.storage.dequeue()))
        assert self.ask(waiting, scheduled.id) == [False, True]
        assert self.ask(huey_tasks.fail("log").id) == [True]

    def test_of_a_task_in_a_queue_that_is_too_long_it_is_unknown(self, at_most: Callable[[int], None]) -> None:
        oldest, *_others = [huey_tasks.fail("log").id for _ in range(4)]
        at_most(3)
        assert self.ask(oldest, "unknown") == [True, None]
        at_most(4)
        assert self.ask("unknown") == [False]


@pytest.mark.service
class TestRQ:
    def test_a_job_in_another_queue_than_its_tasks_is_found(self, redis: Redis) -> None:
        redis.forget()
        connection = django_rq.get_queue().connection
        first, job = [Queue("low", connection=connection).enqueue(rq_tasks.fail, "log") for _ in range(2)]
        assert answers(RQRunner(), rq_tasks.fail, job.id, "unknown") == [True, False]
        assert [RQRunner().ahead(rq_tasks.fail, job_id) for job_id in (first.id, job.id)] == [0, 1]


class TestDjangoQ:
    def ask(self, *runner_ids: str) -> list[bool | None]:
        return answers(DjangoQRunner(), q_tasks.fail, *runner_ids)

    def test_a_package_is_found_until_it_is_acknowledged_in_whichever_cluster(self) -> None:
        from django_q.brokers import get_broker

        ids = [async_task(q_tasks.fail, "log"), async_task(q_tasks.fail, "log", cluster="other")]
        [(package_id, _payload)] = get_broker().dequeue()
        assert self.ask(*ids, "unknown") == [True, True, False]
        get_broker().acknowledge(package_id)
        assert self.ask(*ids) == [False, True]

    def test_of_a_package_in_a_table_that_is_too_long_it_is_unknown(self, at_most: Callable[[int], None]) -> None:
        oldest, *_others = [async_task(q_tasks.fail, "log") for _ in range(4)]
        at_most(3)
        assert self.ask(oldest, "unknown") == [True, None]
        at_most(4)
        assert self.ask("unknown") == [False]


def test_a_search_reads_no_more_than_its_bounds() -> None:
    messages = count()
    found = waiting_ids.read_ids((f"{number}" for number in messages), str)
    assert (len(found.ids), found.is_complete) == (waiting_ids.MAX_MESSAGES, False)
    assert next(messages) == waiting_ids.MAX_MESSAGES + 1
    large = "x" * (waiting_ids.MAX_BYTES // 2)
    assert not waiting_ids.read_ids([large, large, "y"], str).is_complete
    assert waiting_ids.read_ids([large, large], str).is_complete


def test_a_message_that_cannot_be_read_may_be_of_any_task() -> None:
    found = waiting_ids.read_ids(["1", "x", "2"], lambda message: str(int(message)))
    assert [found.has(runner_id) for runner_id in ("1", "2", "3")] == [True, True, None]
