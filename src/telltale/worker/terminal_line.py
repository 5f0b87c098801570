"""The line that a bar shows at a terminal: by rich if it is installed, else of plain characters."""

import io
import os
from collections.abc import Callable
from importlib.util import find_spec
from typing import Final, NamedTuple, TextIO

from telltale.core.snapshot import Progress

BAR_COLUMNS: Final = 30


class Figures(NamedTuple):
    """What a line tells, at one moment."""

    progress: Progress
    elapsed_s: float
    remaining_s: float | None


Render = Callable[[Figures, int], str]
"""Returns the line for these figures, in at most so many columns."""


def renderer(*, has_colours: bool) -> Render:
    """Return what makes the lines."""
    return _rich_line if has_colours and find_spec("rich") is not None else plain_line


def plain_line(figures: Figures, columns: int) -> str:
    """Return `Reading [######----]  45% 12,400 of 28,000 rows · 0:07 · 0:09 left`."""
    fraction = figures.progress.fraction
    done = 0 if fraction is None else int(fraction * BAR_COLUMNS)
    drawing = f"[{'#' * done}{'-' * (BAR_COLUMNS - done)}]" if fraction is not None else ""
    words = [_name(figures.progress), drawing, _percent(fraction), _count(figures)]
    return " ".join(filter(None, words))[:columns]


def _rich_line(figures: Figures, columns: int) -> str:
    from rich.console import Console
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    fraction = figures.progress.fraction
    bar = ProgressBar(
        total=1.0,
        completed=fraction or 0.0,
        pulse=fraction is None,
        width=BAR_COLUMNS,
        animation_time=figures.elapsed_s,
        finished_style="green",
    )
    row = Table.grid(padding=(0, 1))
    name = _name(figures.progress)
    cells = [Text(name, style="bold")] if name else []
    row.add_row(*cells, bar, Text(_percent(fraction)), Text(_count(figures), style="dim"))
    for column in row.columns:
        column.no_wrap, column.overflow = True, "ellipsis"
    drawing = io.StringIO()
    Console(file=drawing, force_terminal=True, width=columns, height=1).print(row, end="")
    return drawing.getvalue().strip("\n")


def _name(progress: Progress) -> str:
    """The stage and the message, without characters that a terminal would obey."""
    text = ": ".join(filter(None, [progress.stage, progress.message]))
    return "".join(character if character.isprintable() else " " for character in text)[:40]


def _percent(fraction: float | None) -> str:
    return "" if fraction is None else f"{int(fraction * 100):3d}%"


def _count(figures: Figures) -> str:
    progress = figures.progress
    parts = [_clock(figures.elapsed_s)]
    if progress.current is not None:
        of_total = f" of {progress.total:,.12g}" if progress.total else ""
        parts.insert(0, f"{progress.current:,.12g}{of_total} {progress.unit}".rstrip())
    if figures.remaining_s is not None:
        parts.append(f"{_clock(figures.remaining_s)} left")
    return " · ".join(parts)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def columns_of(terminal: TextIO) -> int:
    """Return how many columns a line may have: one fewer than the terminal, which would begin another line."""
    try:
        return max(20, os.get_terminal_size(terminal.fileno()).columns - 1)
    except (OSError, ValueError):
        return 79
