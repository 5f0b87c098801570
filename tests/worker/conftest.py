"""What the worker's tests share: a queued task, what the broker carried, and quick durations."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from telltale import brokers, store
from telltale.core.snapshot import Snapshot
from telltale.core.wire import Envelope
from telltale.models import TaskState

QUICK = {"BROKER": "memory://", "PUBLISH_EVERY_S": 0.01, "SAVE_EVERY_S": 0.1, "BEAT_S": 0.2, "END_PATIENCE_S": 10.0}


@pytest.fixture(autouse=True)
def quick(settings) -> None:
    settings.TELLTALE = QUICK


@pytest.fixture
def queue() -> Callable[..., TaskState]:
    """Makes a queued row, as a runner would."""

    def make(**more: object) -> TaskState:
        return store.queue(**({"runner": "test", "name": "work", "label": "Work"} | more)).task

    return make


class Told(list[Envelope]):
    """What the broker carried, in order of arrival."""

    def of(self, task: TaskState) -> list[Snapshot]:
        return [e.snapshot for e in list(self) if e.snapshot is not None and e.snapshot.id == str(task.pk)]


@pytest.fixture
def listen(quick: None) -> Iterator[Callable[[], Told]]:
    """Begins to hear the broker of the settings as they are when it is called."""
    with ExitStack() as listeners:

        def begin() -> Told:
            heard = Told()
            listener = brokers.broker().listen(
                lambda raw: heard.extend(map(Envelope.from_bytes, raw)), lambda topics: None
            )
            listeners.callback(listener.close)
            return heard

        yield begin


@pytest.fixture
def told(listen: Callable[[], Told]) -> Told:
    """What the broker carries from now on."""
    return listen()


def eventually(condition: Callable[[], object]) -> None:
    """Wait until it holds."""
    until = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < until, "it did not come about in 15 s"
        time.sleep(0.005)
