"""The view for terminals, by rich: a table with a bar for each task, drawn in place."""

from collections.abc import Sequence
from typing import Any, Final, TextIO

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from telltale.core.snapshot import Snapshot
from telltale.core.states import Health, State
from telltale.management.watch.shown import ShownTask, show

BAR_COLUMNS: Final = 24

STYLES: Final = {
    State.QUEUED: "dim",
    State.RETRYING: "yellow",
    State.SUCCEEDED: "green",
    State.FAILED: "red",
    State.CANCELLED: "dim",
    State.LOST: "red",
}


class Bars:
    """Draws a table of bars. Satisfies `View`."""

    def __init__(self, stream: TextIO, *, with_ids: bool) -> None:
        """`with_ids`: begin each row with the first digits of the task's id."""
        self._with_ids = with_ids
        # It draws when it is told to: no thread of its own, and the output of others stays as it is.
        self._live = Live(
            console=Console(file=stream), auto_refresh=False, redirect_stdout=False, redirect_stderr=False
        )
        self._live.start()

    def show(self, snapshots: Sequence[Snapshot], *, now: float) -> None:
        """Draw the tasks as they are at `now`."""
        content: Any = self._table([show(snapshot, now=now) for snapshot in snapshots])
        self._live.update(content if snapshots else Text("No unfinished tasks.", style="dim"), refresh=True)

    def close(self) -> None:
        """Leave the last drawing where it is, and show the cursor again."""
        self._live.stop()

    def _table(self, tasks: Sequence[ShownTask]) -> Table:
        table = Table.grid(padding=(0, 1), expand=True)
        if self._with_ids:
            table.add_column(width=8, no_wrap=True, style="dim")
        table.add_column(ratio=2, no_wrap=True, overflow="ellipsis")
        table.add_column(width=BAR_COLUMNS)
        table.add_column(width=4, justify="right", no_wrap=True)
        table.add_column(ratio=5, no_wrap=True, overflow="ellipsis")
        for task in tasks:
            start = [Text(task.snapshot.id[:8])] if self._with_ids else []
            words = Text(task.words, style=_style(task))
            # `Text`, not `str`: square brackets in a label would be read as markup.
            table.add_row(*start, Text(task.label, style="bold"), _bar(task), Text(task.text.figure), words)
        return table


def _style(task: ShownTask) -> str:
    if task.health is not None and task.health is not Health.OK:
        return "yellow"
    return STYLES.get(task.snapshot.state, "")


def _bar(task: ShownTask) -> ProgressBar:
    style = _style(task)
    return ProgressBar(
        total=1.0,
        completed=task.text.filled or 0.0,
        pulse=task.text.filled is None,
        width=BAR_COLUMNS,
        complete_style=style or "cyan",
        finished_style=style or "cyan",
    )
