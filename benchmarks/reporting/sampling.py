"""The reporter's part: reading 10,000 trackers and publishing their changes. Uses no database."""

import gc
import time
import tracemalloc
from uuid import uuid4

from benchmarks.reporting.timing import us_each
from telltale.brokers import broker
from telltale.core.snapshot import Snapshot
from telltale.core.states import State
from telltale.core.wire import Envelope
from telltale.messages import send_to_broker
from telltale.store import Claim
from telltale.worker.attempt import Attempt
from telltale.worker.reporter import PUBLISHED_AT_ONCE

TASKS = 10_000
NEVER_S = 1e9
"""A heartbeat that is never due."""

ALL_MOVED = "read, all moved: a task"
PUBLISH = "encode and publish, memory://: a change"


def measure() -> dict[str, list[float]]:
    """Microseconds, one figure per repeat; the memory in bytes."""
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    attempts = [running_attempt() for _ in range(TASKS)]
    move(attempts, every=1)
    read(attempts)
    memory = (tracemalloc.get_traced_memory()[0] - before) / TASKS
    tracemalloc.stop()
    gc.collect()
    figures = {
        "read, nothing moved: a task": us_each(lambda: read(attempts), TASKS),
        "read, 1 % moved: a task": us_each(lambda: read(attempts), TASKS, prepare=lambda: move(attempts, every=100)),
        ALL_MOVED: us_each(lambda: read(attempts), TASKS, prepare=lambda: move(attempts, every=1)),
        "find tasks to save, none due: a task": us_each(lambda: find_due(attempts), TASKS),
    }
    envelopes = [
        Envelope(topics=attempt.claim.topics, snapshot=attempt._published)  # type: ignore[union-attr]
        for attempt in attempts[:PUBLISHED_AT_ONCE]
    ]
    figures["encode and publish, no listener: a change"] = us_each(lambda: publish(envelopes), len(envelopes))
    listener = broker().listen(lambda raw: None, lambda topics: None)
    figures[PUBLISH] = us_each(lambda: publish(envelopes), len(envelopes))
    listener.close()
    return figures | {"memory of a running attempt, bytes": [memory]}


def running_attempt() -> Attempt:
    """An attempt that was claimed and published once."""
    task_id, now = uuid4(), time.time()
    snapshot = Snapshot(
        id=str(task_id), attempt=1, seq=1, state=State.RUNNING, label="Work", started_at=now, beat_at=now
    )
    claim = Claim(id=task_id, attempt=1, seq=1, topics=(f"task:{task_id}", "user:7"), snapshot=snapshot)
    attempt = Attempt()
    attempt.begin(claim, save_every_s=0.0)
    attempt.next_snapshot(now=now, beat_s=NEVER_S)
    attempt.tracker.total = 1_000_000
    return attempt


def move(attempts: list[Attempt], *, every: int) -> None:
    """Advance the tracker of each `every`th attempt by one."""
    for attempt in attempts[::every]:
        attempt.tracker.current += 1


def read(attempts: list[Attempt]) -> list[Snapshot]:
    """The snapshots of the changes, as the reporter reads them."""
    now = time.time()
    return [snapshot for attempt in attempts if (snapshot := attempt.next_snapshot(now=now, beat_s=NEVER_S))]


def find_due(attempts: list[Attempt]) -> list[Attempt]:
    """The attempts that the saver would save now."""
    return [attempt for attempt in attempts if attempt.is_save_due(now=0.0, save_every_s=2.0)]


def publish(envelopes: list[Envelope]) -> None:
    """Send copies of the envelopes, because an envelope keeps its encoded text."""
    send_to_broker(Envelope(topics=envelope.topics, snapshot=envelope.snapshot) for envelope in envelopes)
