"""The contract of runners, held by all three; Celery and django-tasks-db with their real workers."""

import pytest

from telltale.testing.runners import RunnerContract, WorkerContract
from tests.runners.benches import ProcessBench, ThreadBench


class TestThreads(RunnerContract):
    @pytest.fixture
    def bench(self, threads: ThreadBench) -> ThreadBench:
        return threads


@pytest.mark.service
class TestDjangoTasks(WorkerContract):
    @pytest.fixture
    def bench(self, db_bench: ProcessBench) -> ProcessBench:
        return db_bench


@pytest.mark.service
class TestCelery(WorkerContract):
    @pytest.fixture
    def bench(self, celery_bench: ProcessBench) -> ProcessBench:
        return celery_bench
