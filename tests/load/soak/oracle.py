"""The oracle: reads the database when all is over, and compares what workers were told and followers saw with it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from telltale.core.snapshot import Order
from telltale.models import TaskState
from tests.load.soak.people import View
from tests.load.soak.worker import session_of


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What is wrong, with some examples; and how much there was."""

    tasks: int
    ends: dict[str, int]
    acknowledged_ends: int
    views: int
    compared: int
    """Pairs of a follower and a task."""
    open_tasks: int
    lost_ends: list[str]
    """Ends that a worker was told were written, and that the database does not have."""
    missing: list[str]
    """Tasks that a follower of their owner never saw."""
    unended: list[str]
    """Tasks that a follower sees running, and that have ended."""
    wrong: list[str]
    """Tasks of which a follower sees another snapshot, or a task that its owner does not have."""

    @property
    def is_clean(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.open_tasks or self.lost_ends or self.missing or self.unended or self.wrong)


def examine(views: Sequence[View], ends_files: Iterable[Path]) -> Findings:
    """Read the database, and compare."""
    rows = list(TaskState.objects.filter(name="soak"))
    acknowledged = [line.split() for path in ends_files if path.exists() for line in path.read_text().splitlines()]
    states = {row.label: row.state for row in rows}
    by_session: dict[str, dict[bytes, Order]] = {}
    ends: dict[str, int] = {}
    for row in rows:
        by_session.setdefault(row.session, {})[str(row.pk).encode()] = row.snapshot.order
        ends[row.state] = ends.get(row.state, 0) + (row.ended_at is not None)
    missing: list[str] = []
    unended: list[str] = []
    wrong: list[str] = []
    compared = 0
    for view in views:
        expected = by_session.get(session_of(view.owner), {})
        compared += len(expected)
        if view.tasks == expected:
            continue
        for task in expected.keys() | view.tasks.keys():
            seen, stored = view.tasks.get(task), expected.get(task)
            found = f"{task.decode()}: a follower sees {seen}, the database has {stored}"
            if seen is None:
                missing.append(found)
            elif stored is not None and stored[1] and not seen[1]:
                unended.append(found)
            elif seen != stored:
                wrong.append(found)
    return Findings(
        tasks=len(rows),
        ends={state: count for state, count in sorted(ends.items()) if count},
        acknowledged_ends=len(acknowledged),
        views=len(views),
        compared=compared,
        open_tasks=sum(row.ended_at is None for row in rows),
        lost_ends=[f"{label}: {state}" for label, state in acknowledged if states.get(label) != state],
        missing=missing,
        unended=unended,
        wrong=wrong,
    )
