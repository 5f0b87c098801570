"""Short durations, and a bench that runs tasks in threads of the test's process."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.app import thread_tasks
from tests.runners.benches import SHORT, ThreadBench


@pytest.fixture(autouse=True)
def short_durations(settings: Any) -> None:
    settings.TELLTALE = {**settings.TELLTALE, **SHORT}


@pytest.fixture
def threads() -> Iterator[ThreadBench]:
    bench = ThreadBench(thread_tasks)
    yield bench
    bench.drain()
