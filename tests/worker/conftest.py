"""What the worker's tests share: short durations, a queued task, and the envelopes that the broker carried."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from telltale import brokers, store
from telltale.core.snapshot import Snapshot
from telltale.core.wire import Envelope
from telltale.models import TaskState
from telltale.worker.reporter import reporter

QUICK = {"BROKER": "memory://", "PUBLISH_EVERY_S": 0.01, "SAVE_EVERY_S": 0.1, "BEAT_S": 0.2, "END_RETRY_S": 10.0}


@pytest.fixture(autouse=True)
def quick(settings) -> None:
    settings.TELLTALE = QUICK


@pytest.fixture
def queue() -> Callable[..., TaskState]:
    """Returns a function that writes a queued row, as a runner does."""

    def queue_task(**fields: object) -> TaskState:
        return store.queue(**({"runner": "test", "name": "work", "label": "Work"} | fields)).task

    return queue_task


class Carried(list[Envelope]):
    """The envelopes that the broker carried, in order of arrival."""

    def snapshots_of(self, task: TaskState) -> list[Snapshot]:
        return [e.snapshot for e in list(self) if e.snapshot is not None and e.snapshot.id == str(task.pk)]

    def newest_of(self, task: TaskState) -> Snapshot | None:
        """The snapshot that readers show: the largest by order, because two publishers' may arrive in any order."""
        return max(self.snapshots_of(task), key=lambda snapshot: snapshot.order, default=None)

    def assert_current(self, task: TaskState, current: float) -> None:
        """Wait until this value of the task's progress is published."""
        assert_eventually(lambda: (newest := self.newest_of(task)) and newest.progress.current == current)

    def assert_ended(self, task: TaskState) -> None:
        """Wait until the end of the task is published."""
        assert_eventually(lambda: (newest := self.newest_of(task)) and newest.ended)


@pytest.fixture
def listen(quick: None) -> Iterator[Callable[[], Carried]]:
    """Returns a function that starts to listen to the broker of the current settings."""
    with ExitStack() as listeners:

        def start() -> Carried:
            carried = Carried()
            listener = brokers.broker().listen(
                lambda raw: carried.extend(map(Envelope.from_bytes, raw)), lambda topics: None
            )
            listeners.callback(listener.close)
            return carried

        yield start


@pytest.fixture
def carried(listen: Callable[[], Carried]) -> Carried:
    """The envelopes that the broker carries from now on."""
    return listen()


def wait_until_idle() -> None:
    """Wait until this process's reporter and saver sleep: the saver has closed its connection by then."""
    threads = reporter()
    assert_eventually(lambda: not (threads._has_attempts._is_set or threads.saver._has_work._is_set))


def assert_eventually(condition: Callable[[], object]) -> None:
    """Wait until the condition is true, for up to 30 s."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "the condition did not become true within 30 s"
        time.sleep(0.005)
