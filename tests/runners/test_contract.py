"""The contract of runners, held by all of them, with their real workers; Procrastinate has a file of its own."""

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


@pytest.mark.service
class TestRQ(WorkerContract):
    @pytest.fixture
    def bench(self, rq_bench: ProcessBench) -> ProcessBench:
        return rq_bench


@pytest.mark.service
class TestDramatiq(WorkerContract):
    @pytest.fixture
    def bench(self, dramatiq_bench: ProcessBench) -> ProcessBench:
        return dramatiq_bench


@pytest.mark.service
class TestHuey(WorkerContract):
    @pytest.fixture
    def bench(self, huey_bench: ProcessBench) -> ProcessBench:
        return huey_bench


@pytest.mark.service
class TestDjangoQ(WorkerContract):
    @pytest.fixture
    def bench(self, q_bench: ProcessBench) -> ProcessBench:
        return q_bench
