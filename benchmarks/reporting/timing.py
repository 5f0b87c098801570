"""The timing that the measurements of 10,000 tasks share."""

import time
from collections.abc import Callable

REPEATS = 7


def us_each(
    run: Callable[[], object], count: int, *, prepare: Callable[[], object] = lambda: None, repeats: int = REPEATS
) -> list[float]:
    """Microseconds of wall time that each of the `count` items in `run` takes, one figure per repeat.

    `prepare` runs before each repeat and is not measured.
    """
    figures = []
    for _ in range(repeats):
        prepare()
        began = time.perf_counter()
        run()
        figures.append((time.perf_counter() - began) / count * 1e6)
    return figures
