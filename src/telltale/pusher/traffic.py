"""What a site's progress costs at a service that bills messages and connections: `manage.py telltale traffic`.

Computed from the table of tasks, so it needs no service and no waiting. A task's `seq` is the number of updates that
its last attempt published, and the count of its progress tells how often its code changed it. A site's own events are
not stored, so they are not counted. Memory grows with the kinds of tasks and with the people who wait at one moment.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from telltale import conf, store

DAY_S: Final = 86_400.0

LINGER_S: Final = 60.0
"""How long a page is assumed to stay open after its task has ended."""

LARGEST: Final = 10
"""Kinds of tasks that a report lists."""

READ_AT_ONCE: Final = 2_000
"""Rows that are held in memory at a time."""


class EndedTask(NamedTuple):
    """What the table says about a task that has ended."""

    label: str
    person: str
    """Whose page waits for it; empty if it has no owner."""
    created_at: float
    started_at: float | None
    ended_at: float
    updates: int
    """Updates that its last attempt published."""
    changes: float
    """How often its code changed the progress, at least: the count that it reached in its last stage."""


@dataclass(slots=True)
class Updates:
    """Updates of some tasks, by who decides how many there are."""

    tasks: int = 0
    set_by_code: float = 0.0
    """If every change were sent."""
    published: float = 0.0
    """As Telltale publishes them: at most one in `PUBLISH_EVERY_S` for each task."""
    sent_to_service: float = 0.0
    """As the broker `pusher://` sends them, at most: `PUSHER_EVENTS_PER_S`, and the end."""

    def add(self, task: EndedTask, *, events_per_s: float) -> None:
        """Count one task."""
        published = max(1, task.updates)
        seconds = max(0.0, task.ended_at - (task.started_at or task.ended_at))
        self.tasks += 1
        self.set_by_code += max(task.changes, published)
        self.published += published
        self.sent_to_service += min(published, 2 + seconds * events_per_s)


@dataclass(slots=True)
class Traffic:
    """The traffic of a period of `days`."""

    days: float
    total: Updates = field(default_factory=Updates)
    by_label: dict[str, Updates] = field(default_factory=dict)
    most_waiting: int = 0
    """The most people whose tasks were open at the same time, or had ended less than `LINGER_S` before."""

    def messages_a_day(self, updates: float, *, pages: float) -> float:
        """Return the messages that are billed: one for publishing an update, and one for each page that gets it."""
        return updates * (1 + pages) / self.days


def measure(days: float, *, now: float | None = None) -> Traffic:
    """Return the traffic of the tasks that ended in the last `days`. Reads each of their rows once."""
    until = store.now() if now is None else now
    events_per_s = conf.settings().pusher_events_per_s
    traffic, waiting = Traffic(days), _Waiting()
    for task in _ended_tasks(until - days * DAY_S):
        traffic.total.add(task, events_per_s=events_per_s)
        traffic.by_label.setdefault(task.label, Updates()).add(task, events_per_s=events_per_s)
        traffic.most_waiting = max(traffic.most_waiting, waiting.add(task))
    return traffic


def _ended_tasks(since: float) -> Iterator[EndedTask]:
    """Yield the tasks that ended since then, in the order in which they were created. Members of groups show no bar."""
    rows = store.task_rows().filter(ended_at__gte=since, group_id=None).order_by("created_at")
    columns = ("label", "owner_id", "session", "created_at", "started_at", "ended_at", "seq", "progress")
    found = rows.values_list(*columns).iterator(chunk_size=READ_AT_ONCE)
    for label, owner, session, created_at, started_at, ended_at, seq, progress in found:
        person = str(owner or session or "")
        yield EndedTask(label, person, created_at, started_at, ended_at, seq, progress.get("current") or 0)


class _Waiting:
    """People who wait at the moment; tasks come in the order in which they were created."""

    def __init__(self) -> None:
        self._ends: list[tuple[float, str]] = []
        self._open: dict[str, int] = {}

    def add(self, task: EndedTask) -> int:
        """Return how many people wait when this task is created."""
        while self._ends and self._ends[0][0] < task.created_at:
            self._leave(heapq.heappop(self._ends)[1])
        if task.person:
            heapq.heappush(self._ends, (task.ended_at + LINGER_S, task.person))
            self._open[task.person] = self._open.get(task.person, 0) + 1
        return len(self._open)

    def _leave(self, person: str) -> None:
        self._open[person] -= 1
        if not self._open[person]:
            del self._open[person]


def report(traffic: Traffic, *, pages: float, messages_a_day: float, connections: float) -> Iterator[str]:
    """Yield the lines of a report. `pages`: how many get each update; the others are the limits of a plan."""
    total = traffic.total
    yield f"{total.tasks:,} tasks ended in the last {traffic.days:g} days."
    if not total.tasks:
        yield "There is nothing to count: choose more --days, or run some tasks first."
        return
    yield ""
    yield f"{'':<38}{'updates':>14}{'messages a day':>18}{'of the plan':>14}"
    for text, updates in (
        ("if every change were sent, at least", total.set_by_code),
        ("as Telltale publishes them", total.published),
        ("as pusher:// sends them, at most", total.sent_to_service),
    ):
        messages = traffic.messages_a_day(updates, pages=pages)
        yield f"{text:<38}{updates:>14,.0f}{messages:>18,.0f}{messages / messages_a_day:>14.1%}"
    yield ""
    yield (
        f"An update counts when it is published, and for each page that gets it (--pages {pages:g}). "
        "A site's own events (telltale.publish) are not stored, so they are not counted."
    )
    waiting = traffic.most_waiting
    yield (
        f"Connections: at most {waiting:,} people waited at the same time, {waiting / connections:.1%} of the plan's "
        f"{connections:,.0f}. Each open page is a connection."
    )
    yield ""
    yield from _largest(traffic)


def _largest(traffic: Traffic) -> Iterator[str]:
    yield f"{'The most updates come from':<38}{'tasks':>14}{'updates':>18}{'by pusher://':>14}"
    largest = heapq.nlargest(LARGEST, traffic.by_label.items(), key=lambda item: item[1].published)
    for label, updates in largest:
        shortened = label if len(label) <= 36 else f"{label[:35]}…"
        yield f"{shortened:<38}{updates.tasks:>14,}{updates.published:>18,.0f}{updates.sent_to_service:>14,.0f}"
