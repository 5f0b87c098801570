"""Short durations, and a worker that runs tasks in threads of the tests' process."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.app import thread_tasks
from tests.runners.workers import SHORT_DURATIONS, ThreadWorker


@pytest.fixture(autouse=True)
def short_durations(settings: Any) -> None:
    settings.TELLTALE = {**settings.TELLTALE, **SHORT_DURATIONS}


@pytest.fixture
def thread_worker() -> Iterator[ThreadWorker]:
    worker = ThreadWorker(thread_tasks)
    yield worker
    worker.drain()
