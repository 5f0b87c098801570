"""Every runner keeps its contract, with its real workers. Procrastinate, which needs PostgreSQL, has its own file."""

import pytest

from telltale.testing.runners import RunnerContract, WorkerProcessContract
from tests.runners.workers import ThreadWorker, WorkerProcess


class TestThreads(RunnerContract):
    @pytest.fixture
    def worker(self, thread_worker: ThreadWorker) -> ThreadWorker:
        return thread_worker


@pytest.mark.service
class TestDjangoTasks(WorkerProcessContract):
    @pytest.fixture
    def worker(self, django_tasks_worker: WorkerProcess) -> WorkerProcess:
        return django_tasks_worker


@pytest.mark.service
class TestCelery(WorkerProcessContract):
    @pytest.fixture
    def worker(self, celery_worker: WorkerProcess) -> WorkerProcess:
        return celery_worker


@pytest.mark.service
class TestRQ(WorkerProcessContract):
    @pytest.fixture
    def worker(self, rq_worker: WorkerProcess) -> WorkerProcess:
        return rq_worker


@pytest.mark.service
class TestDramatiq(WorkerProcessContract):
    @pytest.fixture
    def worker(self, dramatiq_worker: WorkerProcess) -> WorkerProcess:
        return dramatiq_worker


@pytest.mark.service
class TestHuey(WorkerProcessContract):
    @pytest.fixture
    def worker(self, huey_worker: WorkerProcess) -> WorkerProcess:
        return huey_worker


@pytest.mark.service
class TestDjangoQ(WorkerProcessContract):
    @pytest.fixture
    def worker(self, django_q_worker: WorkerProcess) -> WorkerProcess:
        return django_q_worker
