"""What a read of the store costs for followers: `python -m benchmarks.capacity.reading`, in a site's own process.

Prints JSON: microseconds of this thread's CPU a query, a topic of which nothing is known, and a task that is found.
Besides, what it costs to make a frame. Run by `calibrate.py` with the benchmark's settings and an empty database.
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

from benchmarks.capacity.rules import BATCH  # noqa: E402
from telltale import store  # noqa: E402
from telltale.core.topics import task_topic  # noqa: E402
from telltale.core.wire import Envelope, update_of  # noqa: E402
from telltale.models import TaskState  # noqa: E402
from telltale.server.frames import text_frame  # noqa: E402

REPEATS = 15
FRAMES = 2_000


def cost_us(act: Callable[[], object]) -> float:
    """Of one call: the median of some."""

    def once() -> float:
        began = time.thread_time()
        act()
        return (time.thread_time() - began) * 1e6

    once()
    return statistics.median(once() for _ in range(REPEATS))


def main() -> None:
    """See the module."""
    users = get_user_model().objects.bulk_create([get_user_model()(username=str(n)) for n in range(BATCH)])
    topics = [f"user:{user.pk}" for user in users]
    strangers = [f"user:{user.pk + BATCH}" for user in users]
    now = time.time()
    rows = [TaskState(name="site.tasks.task", label="A task", owner=user, state="running", attempt=1) for user in users]
    for row in rows:
        row.created_at = row.started_at = row.moved_at = row.beat_at = now
        row.lease_until = now + 3_600
    TaskState.objects.bulk_create(rows)
    one, none = cost_us(lambda: store.read_topics(strangers[:1])), cost_us(lambda: store.read_topics(strangers))
    task = cost_us(lambda: store.read_topics([task_topic(uuid4())]))
    every = cost_us(lambda: [e.text for e in store.read_topics(topics)])
    topic_us = max(0.0, (none - one) / (BATCH - 1))
    envelope = Envelope(topics=rows[0].topics, snapshot=rows[0].snapshot)
    frames = cost_us(lambda: [text_frame(update_of(envelope, n, now)) for n in range(FRAMES)])
    figures = {
        "query_us": one,
        "task_query_us": task,
        "topic_us": topic_us,
        "row_us": (every - none) / BATCH,
        "frame_us": frames / FRAMES,
    }
    json.dump(figures, sys.stdout)


if __name__ == "__main__":
    main()
