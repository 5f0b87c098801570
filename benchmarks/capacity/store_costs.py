"""Measures a read of the store for followers, and the encoding of a frame: `python -m benchmarks.capacity.store_costs`.

Prints JSON: microseconds of this thread's CPU time for a query, for a topic without tasks, for a task that is found,
and for a frame. `calibrate.py` runs it with the benchmark's settings and an empty database.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from uuid import uuid4

import django

django.setup()

from django.contrib.auth import get_user_model  # noqa: E402  (models need the set-up)

from benchmarks.capacity.constants import BATCH  # noqa: E402
from telltale import store  # noqa: E402
from telltale.core.protocol import update_of  # noqa: E402
from telltale.core.topics import task_topic  # noqa: E402
from telltale.core.wire import Envelope  # noqa: E402
from telltale.models import TaskState  # noqa: E402
from telltale.server.frames import text_frame  # noqa: E402

REPEATS = 15
FRAMES = 2_000


def cost_us(action: Callable[[], object]) -> float:
    """The median CPU time of several calls, after one that does not count."""

    def measure() -> float:
        began = time.thread_time()
        action()
        return (time.thread_time() - began) * 1e6

    measure()
    return statistics.median(measure() for _ in range(REPEATS))


def main() -> None:
    """Measure and print."""
    users = get_user_model().objects.bulk_create([get_user_model()(username=str(n)) for n in range(BATCH)])
    topics = [f"user:{user.pk}" for user in users]
    empty_topics = [f"user:{user.pk + BATCH}" for user in users]
    now = time.time()
    rows = [TaskState(name="site.tasks.task", label="A task", owner=user, state="running", attempt=1) for user in users]
    for row in rows:
        row.created_at = row.started_at = row.moved_at = row.beat_at = now
        row.lease_until = now + 3_600
    TaskState.objects.bulk_create(rows)

    query_us = cost_us(lambda: store.read_topics(empty_topics[:1]))
    batch_us = cost_us(lambda: store.read_topics(empty_topics))
    task_query_us = cost_us(lambda: store.read_topics([task_topic(uuid4())]))
    full_batch_us = cost_us(lambda: [envelope.text for envelope in store.read_topics(topics)])
    envelope = Envelope(topics=rows[0].topics, snapshot=rows[0].snapshot)
    frames_us = cost_us(lambda: [text_frame(update_of(envelope, n, now)) for n in range(FRAMES)])
    figures = {
        "query_us": query_us,
        "task_query_us": task_query_us,
        "topic_us": max(0.0, (batch_us - query_us) / (BATCH - 1)),
        "row_us": (full_batch_us - batch_us) / BATCH,
        "frame_us": frames_us / FRAMES,
    }
    json.dump(figures, sys.stdout)


if __name__ == "__main__":
    main()
