"""Publishes snapshots at a constant rate, and prints the CPU time that it took, in microseconds.

    python -m benchmarks.channels.publisher bare|telltale TOPICS UPDATES_PER_S SECONDS

`bare` sends each snapshot with `group_send`, over one event loop, which is the cheapest way. `telltale` publishes as
the reporter does, all snapshots of a moment together. Updates are spread evenly over the topics.
"""

import asyncio
import sys
import time
from collections.abc import Callable
from typing import Final

import django

django.setup()

from channels.layers import get_channel_layer  # noqa: E402  (needs the settings)

from telltale import brokers  # noqa: E402
from telltale.core.snapshot import Progress, Snapshot  # noqa: E402
from telltale.core.states import State  # noqa: E402
from telltale.core.wire import Envelope  # noqa: E402
from telltale.messages import send_to_broker  # noqa: E402

MOMENTS_PER_S: Final = 10
"""The reporter samples so often; a topic with more updates has several at once."""


def snapshot(topic: int, seq: int) -> Snapshot:
    """A running task; its message is the time."""
    now = time.time()
    return Snapshot(
        id=f"00000000-0000-4000-8000-{topic:012}",
        attempt=1,
        seq=seq,
        state=State.RUNNING,
        name="site.tasks.import_contacts",
        label="Import contacts",
        progress=Progress(fraction=0.5, current=14_000, total=28_000, unit="rows", message=f"{now:.6f}"),
        created_at=now,
        started_at=now,
        moved_at=now,
        beat_at=now,
    )


def steps(topics: int, per_s: int, seconds: float) -> Callable[[float], list[tuple[int, int]]]:
    """A function of the elapsed seconds: the (topic, seq) that are due and were not returned before."""
    done = 0

    def due(elapsed_s: float) -> list[tuple[int, int]]:
        nonlocal done
        until = int(min(elapsed_s, seconds) * per_s)
        batch = [(n % topics, n + 1) for n in range(done, until)]
        done = until
        return batch

    return due


async def publish_bare(topics: int, per_s: int, seconds: float) -> None:
    """As a task of a project with Channels does."""
    layer = get_channel_layer()
    due, began = steps(topics, per_s, seconds), time.perf_counter()
    while (elapsed_s := time.perf_counter() - began) < seconds:
        for topic, seq in due(elapsed_s):
            message = {"type": "task.changed", "snapshot": snapshot(topic, seq).to_json()}
            await layer.group_send(f"project-{topic}", message)
        await asyncio.sleep(min(1 / per_s, 1 / MOMENTS_PER_S))


def publish_telltale(topics: int, per_s: int, seconds: float) -> None:
    """Through the broker."""
    due, began = steps(topics, per_s, seconds), time.perf_counter()
    while (elapsed_s := time.perf_counter() - began) < seconds:
        envelopes = [
            Envelope(topics=(f"project:{topic}",), snapshot=snapshot(topic, seq)) for topic, seq in due(elapsed_s)
        ]
        if envelopes:
            send_to_broker(envelopes)
        time.sleep(1 / MOMENTS_PER_S if topics > 1 else min(1 / per_s, 1 / MOMENTS_PER_S))


def main() -> None:
    """Publish, and print."""
    kind, topics, per_s, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    began = time.process_time()
    if kind == "bare":
        asyncio.run(publish_bare(topics, per_s, seconds))
    else:
        publish_telltale(topics, per_s, seconds)
        time.sleep(0.3)
        brokers.reset()
    print((time.process_time() - began) * 1e6)


if __name__ == "__main__":
    main()
