"""The operations, and how each is prepared at a size. Import it after `django.setup`."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from time import time
from typing import Final
from uuid import uuid4

from django.contrib.auth import get_user_model

from telltale import store
from telltale.core.connection import Connection
from telltale.core.hub import Hub
from telltale.core.policy import Grant
from telltale.core.snapshot import Snapshot
from telltale.core.states import State
from telltale.core.wire import Envelope
from telltale.live import tickets
from telltale.models import TaskState
from telltale.owners import Owner

BATCH: Final = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """An operation at several sizes."""

    operation: str
    grows_with: str
    sizes: tuple[int, ...]
    prepare: Callable[[int], Callable[[], object]]
    """Takes a size; returns the call that is measured."""
    calls: int = 20
    """How many calls are timed together."""


def end_a_member(size: int) -> Callable[[], object]:
    """The end of one of `size` members of a group; the group is larger than the number of calls."""
    members = [
        store.Member(name="bench", label="Import", runner_id=str(uuid4()), args=(), kwargs={}) for _ in range(size)
    ]
    group = store.queue_group([members], group_id=uuid4(), runner="bench", name="bench", label="Import", owner=Owner())
    waiting = iter(store.member_ids(group))

    def call() -> None:
        claim = store.claim(task_id=next(waiting), worker="w")
        assert isinstance(claim, store.Claim)
        store.end(claim.id, claim.attempt, State.SUCCEEDED)

    return call


def read_a_page(size: int, *, own: bool) -> Callable[[], object]:
    """A page's read of a person's tasks, when `size` tasks have ended: theirs, or those of other people."""
    TaskState.objects.all().delete()
    person, other = (get_user_model().objects.create(username=uuid4().hex) for _ in range(2))
    now = time()
    past = {"runner": "bench", "name": "bench", "label": "Import", "state": State.SUCCEEDED.value}
    rows = (
        TaskState(**past, owner=person if own else other, created_at=now - 9e4 - n, ended_at=now - 9e4 - n)
        for n in range(size)
    )
    TaskState.objects.bulk_create(rows, batch_size=BATCH)
    for _ in range(5):
        store.queue(runner="bench", name="bench", owner=Owner(user_id=person.pk))
    return lambda: store.read_topics([f"user:{person.pk}"])


def run_a_task(size: int) -> Callable[[], object]:
    """A task's row is created, claimed and ended, when `size` tasks have ended before."""
    read_a_page(size, own=True)

    def call() -> None:
        task = store.queue(runner="bench", name="bench").task
        claim = store.claim(task_id=task.pk, worker="w")
        assert isinstance(claim, store.Claim)
        store.end(claim.id, claim.attempt, State.SUCCEEDED, is_owned=False)

    return call


def deliver(size: int) -> Callable[[], object]:
    """One update of a task that `size` connections follow; the others follow other tasks."""
    return _delivery(["task:a"] * size)


def deliver_to_one(size: int) -> Callable[[], object]:
    """One update of a task that one of `size` connections follows."""
    return _delivery(["task:a", *(f"task:{n}" for n in range(size - 1))])


def _delivery(topics: list[str]) -> Callable[[], object]:
    hub, numbers = Hub(pace_s=0.0), count(1)
    for topic in topics:
        connection = Connection(opened_at=0.0, frame_numbers=hub.frame_numbers)
        connection.admit(Grant(topics=frozenset([topic]), expires_at=1e9), now=0.0)
        hub.attach(connection)
        connection.catch_up([])
        while connection.take(0.0) is not None:
            pass

    def call() -> None:
        seq = next(numbers)
        snapshot = Snapshot(id="a", attempt=1, seq=seq, state=State.RUNNING)
        hub.receive([Envelope(topics=("task:a",), snapshot=snapshot)], now=float(seq))
        while any(hub.take(float(seq))):
            pass

    return call


def verify_a_ticket(size: int) -> Callable[[], object]:
    """A ticket that grants `size` topics is verified."""
    ticket = tickets.issue([f"task:{uuid4()}" for _ in range(size)])
    return lambda: tickets.verify(ticket)


MEASURES: Final = (
    Measure(
        operation="a member of a group ends", grows_with="members", sizes=(200, 1_000, 10_000), prepare=end_a_member
    ),
    Measure(
        operation="a page reads a person's tasks",
        grows_with="ended tasks of other people",
        sizes=(1_000, 10_000, 100_000),
        prepare=lambda size: read_a_page(size, own=False),
    ),
    Measure(
        operation="a page reads a person's tasks",
        grows_with="ended tasks of this person",
        sizes=(1_000, 10_000, 100_000),
        prepare=lambda size: read_a_page(size, own=True),
    ),
    Measure(
        operation="a task is queued, claimed and ended",
        grows_with="ended tasks",
        sizes=(1_000, 10_000, 100_000),
        prepare=run_a_task,
    ),
    Measure(
        operation="an update is delivered to all that follow",
        grows_with="followers of the task",
        sizes=(100, 1_000, 10_000),
        prepare=deliver,
    ),
    Measure(
        operation="an update is delivered to the one that follows",
        grows_with="other connections",
        sizes=(100, 1_000, 10_000),
        prepare=deliver_to_one,
        calls=200,
    ),
    Measure(
        operation="a ticket is verified",
        grows_with="topics of the ticket",
        sizes=(1, 20, 200),
        prepare=verify_a_ticket,
        calls=200,
    ),
)
