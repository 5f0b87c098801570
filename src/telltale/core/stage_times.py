"""How long the outermost stages of an attempt take: for the story of the task. Followers are not sent it."""

from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from telltale.core.snapshot import SHORT_BYTES, bounded

KEPT: Final = 20
"""This many names of stages are kept apart, the first ones. All others count as one, under the name "". With all names
at their bound they have less than 6 KiB."""


class StageTime(NamedTuple):
    """The stages of one name."""

    name: str
    times: int
    """How many of them there were."""
    took_s: float
    """How long they took together, in seconds. Stages that run in parallel add up."""


class StageTimes:
    """Measures the stages by `clock`, which returns seconds; by name, in the order in which the names first came."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._sums: dict[str, list[float]] = {}
        """By name: how many stages began, and how many seconds those took that are over."""
        self._open: dict[int, tuple[str, float]] = {}
        """The stages that are not over, by a number: name, and when they began."""

    def begin(self, stage: int, name: str) -> None:
        """A stage begins; `stage` is a number for it that no other open one has."""
        name = bounded(name, SHORT_BYTES)
        if name not in self._sums and len(self._sums) >= KEPT:
            name = ""
        self._sums.setdefault(name, [0, 0.0])[0] += 1
        self._open[stage] = name, self._clock()

    def end(self, stage: int) -> None:
        """The stage is over."""
        name, began_at = self._open.pop(stage)
        self._sums[name][1] += self._clock() - began_at

    def to_json(self) -> list[Any]:
        """Return plain JSON values, with the time that the open stages have taken until now."""
        now = self._clock()
        took_s = {name: seconds for name, (_times, seconds) in self._sums.items()}
        for name, began_at in self._open.values():
            took_s[name] += now - began_at
        return [[name, times, round(took_s[name], 3)] for name, (times, _seconds) in self._sums.items()]


def read_stage_times(kept: Iterable[Any] | None) -> list[StageTime]:
    """Return the times that a row keeps; none for None."""
    return [StageTime(name, times, took_s) for name, times, took_s, *_newer in kept or ()]
