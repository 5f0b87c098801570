"""A worker process of the soak: it reports for many owners at a time, one task after the other for each.

`python -m tests.load.soak.worker --first 0 --last 500 --period 2 --task-s 60 --ends ends.txt`. SIGTERM lets each task
end. Each end that Telltale has acknowledged is appended to the file, for the oracle.
"""

import argparse
import asyncio
import contextlib
import random
import signal
import time
from pathlib import Path
from typing import TextIO

import django


async def work(owner: int, options: argparse.Namespace, is_over: asyncio.Event, ends: TextIO) -> None:
    """Run one task after another for this owner."""
    await pause(random.uniform(0, options.period * 2), is_over)
    number = 0
    while not is_over.is_set():
        label = f"soak-{owner}-{time.time_ns()}-{number}"
        state = await run(label, owner, options, is_over)
        ends.write(f"{label} {state}\n")
        ends.flush()
        number += 1


async def run(label: str, owner: int, options: argparse.Namespace, is_over: asyncio.Event) -> str:
    """Run one task; return the state in which it ended."""
    import telltale
    from telltale.owners import Owner

    duration_s = options.task_s * random.uniform(0.3, 1.7)
    steps = max(1, round(duration_s / options.period))
    fails = random.random() < 0.1
    try:
        async with telltale.track(label, owner=Owner(session=session_of(owner)), name="soak") as task:
            task.total = steps
            for step in range(1, steps + 1):
                await pause(options.period, is_over)
                task.current = step
                # Of the machine's monotonic clock, by which a follower knows how old the news is.
                task.message = f"{time.monotonic():.3f}"
                if is_over.is_set():
                    break
            if fails:
                raise telltale.TaskError("One of ten fails.")
    except telltale.TaskError:
        return "failed"
    return "succeeded"


async def pause(seconds: float, is_over: asyncio.Event) -> None:
    """Sleep, unless the process should end."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(is_over.wait(), seconds)


def session_of(owner: int) -> str:
    """The name of the session that owns the tasks."""
    return f"soak{owner}"


async def main(options: argparse.Namespace) -> None:
    """Work for all owners until SIGTERM."""
    is_over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, is_over.set)
    with options.ends.open("a") as ends:
        await asyncio.gather(*(work(owner, options, is_over, ends) for owner in range(options.first, options.last)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for name, kind in (("first", int), ("last", int), ("period", float), ("task-s", float), ("ends", Path)):
        parser.add_argument(f"--{name}", type=kind, required=True)
    django.setup()
    asyncio.run(main(parser.parse_args()))
