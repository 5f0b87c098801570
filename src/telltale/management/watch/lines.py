"""The view for pipes, logs and terminals without rich: one line for each change, without any codes."""

import time
from collections.abc import Callable, Sequence
from typing import Final

from telltale.core.snapshot import Snapshot
from telltale.core.states import State
from telltale.management.watch.shown import ShownTask, show

LINE_EVERY_S: Final = 5.0
"""How often a task's progress has a new line; a change of its state has one at once."""

Kind = tuple[int, State, object]
"""The attempt, the state and the health: a change of any has a line at once."""


class Lines:
    """Writes a line when what a task's line says has changed. Satisfies `View`."""

    def __init__(self, write: Callable[[str], None], *, with_ids: bool) -> None:
        """`with_ids`: begin each line with the id of its task, for lists."""
        self._write, self._with_ids = write, with_ids
        self._written: dict[str, tuple[Kind, str, float]] = {}
        """By task: what was written last, and when."""
        self._was_empty = False

    def show(self, snapshots: Sequence[Snapshot], *, now: float) -> None:
        """Write the lines that are due."""
        for snapshot in snapshots:
            self._show_task(show(snapshot, now=now))
        ids = {snapshot.id for snapshot in snapshots}
        self._written = {pk: written for pk, written in self._written.items() if pk in ids}
        if not snapshots and not self._was_empty:
            self._write("No unfinished tasks.")
        self._was_empty = not snapshots

    def close(self) -> None:
        """Do nothing: every line is written."""

    def _show_task(self, task: ShownTask) -> None:
        snapshot = task.snapshot
        kind = (snapshot.attempt, snapshot.state, (task.health, snapshot.cancel_requested))
        line = self._line(task)
        last_kind, last_line, written_at = self._written.get(snapshot.id, (None, "", float("-inf")))
        if line == last_line or (kind == last_kind and time.monotonic() - written_at < LINE_EVERY_S):
            return
        self._written[snapshot.id] = (kind, line, time.monotonic())
        self._write(line)

    def _line(self, task: ShownTask) -> str:
        start = f"{task.snapshot.id} " if self._with_ids else ""
        figure = f"{task.text.figure} · " if task.text.figure else ""
        return f"{start}{task.label}: {figure}{task.words}"
