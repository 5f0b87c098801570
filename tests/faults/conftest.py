"""What tests of faults record for the report of `make faults`."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

Converges = Callable[[], AbstractContextManager[None]]


@pytest.fixture
def converges(record_property: Callable[[str, object], None]) -> Converges:
    """`with converges():` around the wait, after a fault is over, until all is as it should be: records the time."""

    @contextmanager
    def record() -> Iterator[None]:
        began = time.monotonic()
        yield
        record_property("converged_s", round(time.monotonic() - began, 2))

    return record
