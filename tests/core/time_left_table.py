"""Makes the table of the time left in docs/performance.md. `python -m tests.core.time_left_table` writes it."""

import sys
from collections.abc import Iterable
from pathlib import Path

from telltale.core.estimate import Pace
from tests.core.paces import Run, recorded_runs, simulated_runs, usual_duration_s
from tests.core.time_left import Score, score, told

PAGE = Path(__file__).parents[2] / "docs" / "performance.md"
BEGIN, END = "<!-- time left -->\n", "<!-- /time left -->"


def time_left_table() -> str:
    """The table as Markdown: a line for each kind of simulated runs, and for each recorded run."""
    lines = [
        "| runs | told | wrong | changes of direction | wrong, with earlier runs |",
        "| --- | --- | --- | --- | --- |",
    ]
    for kind, runs in simulated_runs().items():
        earlier = _share(each.wrong for each in _scores(runs, usual_duration_s(kind)))
        lines.append(_line(f"{len(runs)} × {kind}", _scores(runs), earlier))
    lines += [_line(f"recorded: {run.kind}", _scores([run]), "") for run in recorded_runs()]
    return "\n".join(lines) + "\n"


def _scores(runs: list[Run], usual_s: tuple[float, float] | None = None) -> list[Score]:
    return [score(run, told(run, Pace(usual_s))) for run in runs]


def _line(name: str, scores: list[Score], earlier: str) -> str:
    told_share, wrong = _share(each.told for each in scores), _share(each.wrong for each in scores)
    return f"| {name} | {told_share} | {wrong} | {sum(each.turns for each in scores)} | {earlier} |"


def _share(shares: Iterable[float]) -> str:
    values = list(shares)
    return f"{sum(values) / len(values):.0%}".replace("%", " %")


def main() -> None:
    """Write the table into the page."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(before + BEGIN + "\n" + time_left_table() + "\n" + END + rest.partition(END)[2], encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
