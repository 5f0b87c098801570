"""The reporter's part: a look at 10,000 trackers, and handing over what it found. Touches no database."""

import gc
import time
import tracemalloc
from collections.abc import Callable
from uuid import uuid4

from telltale.brokers import broker
from telltale.core.snapshot import Snapshot
from telltale.core.states import State
from telltale.core.wire import Envelope
from telltale.messages import send_to_broker
from telltale.store import Claim
from telltale.worker.attempt import Attempt
from telltale.worker.reporter import PUBLISHED_AT_ONCE

TASKS = 10_000
REPEATS = 7
NEVER_S = 1e9


def measured() -> dict[str, list[float]]:
    """Microseconds, one figure a repeat, but for the memory: bytes."""
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    attempts = [running_attempt() for _ in range(TASKS)]
    moved(attempts, 1)
    memory = (tracemalloc.get_traced_memory()[0] - before) / TASKS
    tracemalloc.stop()
    gc.collect()
    figures = {
        "look, nothing moved: a task": repeated(lambda: None, lambda: look(attempts), TASKS),
        "look, 1 % moved: a task": repeated(lambda: count(attempts, 100), lambda: look(attempts), TASKS),
        "look, all moved: a task": repeated(lambda: count(attempts, 1), lambda: look(attempts), TASKS),
        "saver's look, nothing due: a task": repeated(lambda: None, lambda: due(attempts), TASKS),
    }
    envelopes = [Envelope(topics=a.claim.topics, snapshot=a._published) for a in attempts[:PUBLISHED_AT_ONCE]]  # type: ignore[union-attr]
    figures["encode and hand over, nobody hears: a change"] = repeated(
        lambda: None, lambda: send_to_broker(map(anew, envelopes)), PUBLISHED_AT_ONCE
    )
    listener = broker().listen(lambda raw: None, lambda topics: None)
    figures["encode and hand over, memory://: a change"] = repeated(
        lambda: None, lambda: send_to_broker(map(anew, envelopes)), PUBLISHED_AT_ONCE
    )
    listener.close()
    return figures | {"memory of a running attempt, bytes": [memory]}


def running_attempt() -> Attempt:
    """As it is once it was claimed and told."""
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


def moved(attempts: list[Attempt], every: int) -> None:
    """Some get on, and that is told."""
    count(attempts, every)
    look(attempts)


def count(attempts: list[Attempt], every: int) -> None:
    """One turn of a loop in each `every`th."""
    for attempt in attempts[::every]:
        attempt.tracker.current += 1


def look(attempts: list[Attempt]) -> list[Snapshot]:
    """The reporter's, but for the handing over."""
    now = time.time()
    return [told for attempt in attempts if (told := attempt.next_snapshot(now=now, beat_s=NEVER_S))]


def due(attempts: list[Attempt]) -> list[Attempt]:
    """The saver's."""
    return [attempt for attempt in attempts if attempt.is_save_due(now=0.0, save_every_s=2.0)]


def anew(envelope: Envelope) -> Envelope:
    """One that was not encoded yet."""
    return Envelope(topics=envelope.topics, snapshot=envelope.snapshot)


def repeated(prepare: Callable[[], object], run: Callable[[], object], tasks: int) -> list[float]:
    """Microseconds a task of each repeat."""
    figures = []
    for _ in range(REPEATS):
        prepare()
        began = time.perf_counter()
        run()
        figures.append((time.perf_counter() - began) / tasks * 1e6)
    return figures
