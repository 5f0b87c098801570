"""Messages with headers that are malformed or forged: the task runs, and no other task's row changes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redis as redis_client
from django.conf import settings
from django.contrib.auth.models import User
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from rq import Queue

from telltale import store
from telltale.core.states import State
from telltale.dispatch.task_header import HEADER
from telltale.models import TaskState
from telltale.owners import Owner
from telltale.testing.runners import logged_lines, wait_until
from tests.app import celery_app, celery_tasks
from tests.dispatch.test_task_header import HEADERS, JSON
from tests.runners.workers import WorkerProcess

pytestmark = pytest.mark.django_db(transaction=True)


def rows_of_others(runner: str) -> list[TaskState]:
    """Queued tasks of one owner: of another runner, and of this runner with another name."""
    ada = Owner(user_id=User.objects.create_user("ada").pk)
    return [
        store.queue(runner="test", name="other.task", owner=ada).task,
        store.queue(runner=runner, name="other.task", owner=ada).task,
        store.queue(runner=runner, runner_id=uuid4().hex, name="other.task", owner=ada).task,
    ]


def forged_headers(others: list[TaskState]) -> list[Any]:
    """Headers that name rows of others, an owner that does not exist, and values that are malformed."""
    named = [{"task": str(row.pk), "owner": [None, ""], "group": str(row.pk)} for row in others]
    wrong = [{"task": "x"}, {"task": 5, "owner": 7}, {"task": str(uuid4()), "owner": ["x", [1]]}, ["task"], 7]
    return [*named, *wrong, {"task": str(uuid4()), "owner": [999_999, ""], "fresh": True}]


def assert_untouched(others: list[TaskState]) -> None:
    for row in others:
        before = {field.attname: getattr(row, field.attname) for field in TaskState._meta.fields}
        row.refresh_from_db()
        assert before == {field.attname: getattr(row, field.attname) for field in TaskState._meta.fields}


@pytest.fixture
def eager() -> Iterator[None]:
    celery_app.conf.task_always_eager = True
    yield
    celery_app.conf.task_always_eager = False


@pytest.mark.usefixtures("eager")
def test_an_eager_celery_task_succeeds_whatever_its_header_says(tmp_path: Path) -> None:
    others = rows_of_others("celery")
    for header in forged_headers(others):
        result = celery_tasks.count.apply(args=(str(tmp_path / "log"), 1, 0.0), headers={HEADER: header})
        assert result.state == "SUCCESS", header
    assert_untouched(others)


@pytest.mark.usefixtures("eager")
@hypothesis_settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(header=JSON | HEADERS)
def test_a_celery_task_succeeds_with_any_header(tmp_path: Path, header: Any) -> None:
    TaskState.objects.all().delete()  # An earlier example may have had the same id, and its task does not run again.
    result = celery_tasks.count.apply(args=(str(tmp_path / "log"), 1, 0.0), headers={HEADER: header})
    assert result.state == "SUCCESS"


class ForgedMessageTests:
    """Implement `send`, and override the fixture `worker`."""

    runner: str

    @pytest.fixture
    def worker(self) -> WorkerProcess:
        raise NotImplementedError("Override the fixture `worker`.")

    def send(self, header: Any, log: str) -> None:
        """Send a message of the tracked task `count` that has this header."""
        raise NotImplementedError("Implement `send`.")

    def test_every_task_runs_and_no_row_of_others_changes(self, worker: WorkerProcess, tmp_path: Path) -> None:
        worker.start()
        others, log = rows_of_others(self.runner), str(tmp_path / "log")
        headers = forged_headers(others)
        for header in headers:
            self.send(header, log)
        wait_until(lambda: logged_lines(tmp_path) == ["count"] * len(headers), "all have run")
        worker.tasks.count.delay(log, 1, 0.0) if self.runner != "dramatiq" else worker.tasks.count.send(log, 1, 0.0)
        wait_until(
            lambda: TaskState.objects.filter(state=State.SUCCEEDED).exists(), "a task without a forgery is shown"
        )
        assert_untouched(others)


@pytest.mark.service
class TestCelery(ForgedMessageTests):
    runner = "celery"

    @pytest.fixture
    def worker(self, celery_worker: WorkerProcess) -> WorkerProcess:
        return celery_worker

    def send(self, header: Any, log: str) -> None:
        celery_tasks.count.apply_async((log, 1, 0.0), headers={HEADER: header})


@pytest.mark.service
class TestRQ(ForgedMessageTests):
    runner = "rq"

    @pytest.fixture
    def worker(self, rq_worker: WorkerProcess) -> WorkerProcess:
        return rq_worker

    def send(self, header: Any, log: str) -> None:
        from tests.app import rq_tasks

        with redis_client.Redis.from_url(settings.REDIS_URL) as connection:
            Queue("default", connection=connection).enqueue(rq_tasks.count, log, 1, 0.0, meta={HEADER: header})


@pytest.mark.service
class TestDramatiq(ForgedMessageTests):
    runner = "dramatiq"

    @pytest.fixture
    def worker(self, dramatiq_worker: WorkerProcess) -> WorkerProcess:
        return dramatiq_worker

    def send(self, header: Any, log: str) -> None:
        from tests.app import dramatiq_tasks

        dramatiq_tasks.count.send_with_options(args=(log, 1, 0.0), **{HEADER: header})
