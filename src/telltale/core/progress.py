"""Stages: how far a task is when its work has parts, and parts of parts.

A stage's share of its parent is `weight / of`, where `of` is the sum of the weights of all its siblings. A weight below
1 without `of` is a share of the whole (`weight=0.2`: a fifth). A weight of 1 or more without `of` tells nothing about
the siblings to come, so the fraction is unknown; the stage's own count is shown all the same.

No clock and no lock. The task's thread sets plain attributes, enters and leaves stages. Another thread may `sample` at
the same time: the sample may be a moment old, it never raises, and the fraction never goes backwards.
"""

import math
from dataclasses import dataclass, field
from operator import index
from typing import Any

from telltale.core.snapshot import MESSAGE_BYTES, SHORT_BYTES, Progress, bounded


@dataclass(eq=False, slots=True)
class Stage:
    """One part of the work. The task sets `current`, `total`, `unit` and `message`, at any time, to any value."""

    name: str = ""
    share: float | None = 1.0
    """Of the parent, 0 to 1; None while unknown."""
    current: float = 0
    total: float | None = None
    unit: str = ""
    message: str = ""
    done_share: float | None = 0.0
    """The sum of the shares of its children that are over; None once the share of one was unknown."""
    children: int = 0
    """How many children were entered."""
    weights_sum: float | None = None
    """The sum of the weights of all its children; None until a child names it."""
    children_total: int | None = None
    """How many children there will be, if all have weight 1."""


@dataclass(eq=False, slots=True)
class Stages:
    """The stages of one attempt, from the root to the present one."""

    root: Stage = field(default_factory=Stage)
    _path: tuple[Stage, ...] = ()
    _highest: float | None = None

    def enter(self, name: str, weight: float = 1, of: float | None = None) -> Stage:
        """Begin a stage within the present one; raise `ValueError` for a weight that is no positive number."""
        weight = _positive(weight, "weight")
        parent = self._present
        if of is not None:
            parent.weights_sum = _positive(of, "of")
        weights_sum = parent.weights_sum
        parent.children += 1
        if weights_sum is not None and weight == 1 and weights_sum == int(weights_sum):
            parent.children_total = int(weights_sum)
        divisor = weights_sum if weights_sum is not None else (1.0 if weight < 1 else None)
        stage = Stage(name=name, share=None if divisor is None else min(1.0, weight / divisor))
        self._path = (*self._path, stage)
        return stage

    def leave(self) -> None:
        """End the present stage as completed; its parent is the present stage again."""
        if not self._path:
            return
        stage = self._path[-1]
        parent = self._path[-2] if len(self._path) > 1 else self.root
        is_known = parent.done_share is not None and stage.share is not None
        parent.done_share = min(1.0, (parent.done_share or 0.0) + (stage.share or 0.0)) if is_known else None
        self._path = self._path[:-1]

    def sample(self) -> Progress:
        """Return the fraction of the whole, and the count and message of the present stage."""
        path = self._path
        present = path[-1] if path else self.root
        total = number(present.total)
        current = number(present.current)
        if total is not None and current is not None and current > total:
            total = None  # There is more than the task said, so the total is unknown.
        if not current and total is None and not present.unit:
            current = None  # The stage does not count, so 0 would be misleading.
        outermost = path[0] if path else None
        return Progress(
            fraction=self._highest_of(self._fraction(path)),
            current=current,
            total=total,
            unit=bounded(str(present.unit), SHORT_BYTES),
            message=bounded(str(present.message), MESSAGE_BYTES),
            stage=bounded(outermost.name, SHORT_BYTES) if outermost else "",
            step=self.root.children if outermost else 0,
            steps=self.root.children_total,
        )

    @property
    def _present(self) -> Stage:
        return self._path[-1] if self._path else self.root

    def _fraction(self, path: tuple[Stage, ...]) -> float | None:
        """The fraction of the whole, worked out from the present stage outwards."""
        parents = (self.root, *path)
        fraction = _own_fraction(path[-1] if path else self.root)
        for parent, child in zip(reversed(parents[: len(path)]), reversed(path), strict=True):
            if parent.done_share is None or child.share is None:
                return None
            # A stage that does not count is taken as not begun until it is over.
            fraction = parent.done_share + child.share * (fraction or 0.0)
        return fraction

    def _highest_of(self, fraction: float | None) -> float | None:
        if fraction is not None:
            self._highest = max(self._highest or 0.0, min(1.0, fraction))
        return self._highest


def _own_fraction(stage: Stage) -> float | None:
    """The fraction of a stage while none of its children is the present stage."""
    if stage.children:
        return stage.done_share
    total, current = number(stage.total), number(stage.current)
    if not total or current is None or current > total:
        return None
    return current / total


def number(value: object) -> float | None:
    """Return `value` as a number from 0 to 1e15, or None: a task may set anything.

    What has a conversion is converted, such as `Decimal`, `Fraction` and the scalars of numpy.
    """
    try:
        plain = value if type(value) in (int, float) else _converted(value)
        return plain if math.isfinite(plain) and 0 <= plain < 1e15 else None
    except Exception:
        return None


def _converted(value: Any) -> float:
    """The value as an `int` if it is a whole number, else as a `float`; raises for texts, truth values and the like."""
    if isinstance(value, bool | str | bytes | bytearray):
        raise TypeError(f"A {type(value).__name__} is no number.")
    if hasattr(type(value), "__index__"):
        return index(value)
    plain = float(value)
    return int(plain) if plain.is_integer() else plain


def _positive(value: object, name: str) -> float:
    if not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
        raise ValueError(
            f"A stage's {name} is {value!r}: give a number above 0, such as weight=0.2, or weight=1, of=3."
        )
    return float(value)
