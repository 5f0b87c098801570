"""Workers and queues: tasks that run without a heartbeat, and tasks that wait although no worker takes them."""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from telltale import conf, store
from telltale.core.states import State
from telltale.dispatch import registry
from telltale.dispatch.runner import KnowsWorkers
from telltale.management.doctor.database import can_read
from telltale.management.doctor.finding import Finding
from telltale.worker.run import TRACK

EXAMINED: Final = 500
"""How many tasks are looked at, of those that run and of those that wait: the oldest."""

NAMES_ASKED: Final = 20
"""How many names of tasks their runners are asked about: an answer may take a second."""

WAITED_S: Final = 10.0
"""A task that waits for less is probably about to begin."""


def examine_workers() -> Iterator[Finding]:
    """Look for tasks whose worker has gone, and for tasks that no worker takes."""
    if not can_read(conf.settings().database):
        return  # The examination of the database says so.
    now = store.now()
    yield from _without_heartbeat(now)
    yield from _not_consumed(now)


def _without_heartbeat(now: float) -> Iterator[Finding]:
    lapsed = store.task_rows().filter(state=State.RUNNING.value, lease_until__lt=now).order_by("lease_until")
    workers = Counter(lapsed.values_list("worker", flat=True)[:EXAMINED])
    if workers:
        settings = conf.settings()
        yield Finding(
            id="worker-without-heartbeat",
            found=f"Tasks that run without a heartbeat for more than {settings.lease_s:g} s: "
            f"{_bounded(workers.total())}. Their workers: {_listed(workers)}.",
            why="The worker was killed, hangs, or can't reach the database or the broker. The tasks are lost.",
            setting="Start the workers again. If they are alive, let them reach the database of "
            f"TELLTALE['DATABASE'] ({settings.database!r}), and set the same TELLTALE['BEAT_S'] and ['LEASE_S'] in "
            "all processes.",
        )


def _not_consumed(now: float) -> Iterator[Finding]:
    waiting = store.task_rows().filter(state=State.QUEUED.value, created_at__lt=now - WAITED_S).exclude(runner=TRACK)
    oldest = waiting.order_by("created_at")[:EXAMINED]
    counts = Counter((row.runner, row.name) for row in oldest if row.due_at is None or row.due_at < now - WAITED_S)
    for (runner, name), count in counts.most_common(NAMES_ASKED):
        yield from _consumer_of(runner, name, count)


def _consumer_of(runner_name: str, name: str, count: int) -> Iterator[Finding]:
    runner = registry.by_name(runner_name)
    if runner is None:
        yield Finding(
            id="queue-unknown-runner",
            found=f"The runner {runner_name!r} is not installed here, and its tasks {name} wait: {_bounded(count)}.",
            why="This process can't say whether they will begin, nor cancel them or run them again.",
            setting=f"Install the library, and keep {runner_name!r} in TELLTALE['RUNNERS'] if that is set.",
        )
        return
    try:
        task = runner.find(name)
        is_listening = runner.is_listening(task) if task is not None and isinstance(runner, KnowsWorkers) else None
    except Exception as error:
        # A runner may be third-party code, and its service may be down.
        yield Finding(
            id="queue-unreachable",
            found=f"The runner {runner_name!r} can't be asked for its workers ({error!r}), and its tasks {name} wait: "
            f"{_bounded(count)}.",
            why="Its workers can't get them either, if they can't reach the same service.",
            setting=f"Start the service of {runner_name}, or correct its address in the settings.",
        )
        return
    if is_listening is False:
        yield Finding(
            id="queue-not-consumed",
            found=f"No worker of {runner_name} takes the tasks {name}, which wait: {_bounded(count)}.",
            why=f"Their pages say that they wait for a worker; after {_unstarted()} they fail.",
            setting=f"Start a worker of {runner_name} for their queue (docs/runners/), or route the task to a queue "
            "that a worker takes.",
        )


def _unstarted() -> str:
    settings = conf.settings()
    seconds = settings.keep_queued_s if settings.unstarted_s is None else settings.unstarted_s
    return f"{seconds / 60:g} minutes"


def _bounded(count: int) -> str:
    return f"{count:,} or more" if count >= EXAMINED else f"{count:,}"


def _listed(workers: "Counter[str]") -> str:
    names = [name or "unknown" for name, _count in workers.most_common(5)]
    return ", ".join(names) + (f" and {len(workers) - 5} more" if len(workers) > 5 else "")
