"""Measures how costs grow with sizes that a user can multiply, and prints the exponents. Takes a minute.

    python -m benchmarks.growth [--write-docs]

The cost is CPU time of this process, on SQLite. Each size is measured several times, and the least is taken: other
programs on the machine can only add to it. The exponent is the slope between the smallest and the largest size, both
axes logarithmic: 0 if the cost does not depend on the size, 1 if it is proportional to it.
"""

import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.results.markdown import table, with_block
from benchmarks.rig.paths import DOCS
from benchmarks.rig.sqlite_site import sqlite_site

PAGE: Final = DOCS / "performance.md"
BLOCK: Final = "growth"
REPEATS: Final = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table."""

    operation: str
    grows_with: str
    costs_us: dict[int, float]
    """By size."""

    @property
    def exponent(self) -> float:
        """The slope between the smallest and the largest size."""
        (small, small_us), (large, large_us) = min(self.costs_us.items()), max(self.costs_us.items())
        return math.log(large_us / small_us) / math.log(large / small)

    def cells(self) -> tuple[str, str, str, str]:
        """As they are printed."""
        costs = " · ".join(f"{size:,}: {_us(cost)}" for size, cost in self.costs_us.items())
        return self.operation, self.grows_with, costs, f"{self.exponent:.2f}"


def _us(cost: float) -> str:
    return f"{cost / 1_000:.3g} ms" if cost >= 1_000 else f"{cost:.3g} µs"


def main(arguments: Sequence[str]) -> None:
    """Measure in a database of its own, and print the table."""
    with sqlite_site():
        from benchmarks.growth import measures

        rows = [
            Row(
                operation=measure.operation,
                grows_with=measure.grows_with,
                costs_us={size: cost_us(measure.prepare(size), measure.calls) for size in measure.sizes},
            )
            for measure in measures.MEASURES
        ]
    text = table(("operation", "grows with", "CPU time", "exponent"), [row.cells() for row in rows])
    print(text)
    if "--write-docs" in arguments:
        PAGE.write_text(with_block(PAGE.read_text(), BLOCK, text))


def cost_us(call: Callable[[], object], calls: int) -> float:
    """Microseconds of this process's CPU for one call."""
    call()
    best = math.inf
    for _ in range(REPEATS):
        began = time.process_time()
        for _call in range(calls):
            call()
        best = min(best, (time.process_time() - began) / calls)
    return best * 1e6


if __name__ == "__main__":
    main(sys.argv[1:])
