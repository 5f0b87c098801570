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
from typing import Any, Final

from telltale.core.snapshot import MAX_BORDERS, MESSAGE_BYTES, SHORT_BYTES, Progress, bounded
from telltale.core.stage_times import StageTimes

_TINY: Final = 1e-9


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
    """How many children there will be; None until their weights tell."""
    given_share: float | None = 0.0
    """The sum of the shares of its children; None once the share of one was unknown."""
    is_even: bool = True
    """Whether all its children have had weight 1."""
    parent: "Stage | None" = None
    number: int = 0
    """Its place among the children of its parent, from 1; 0 for the root."""
    open: dict[int, "Stage"] = field(default_factory=dict)
    """Its children that are not over, in the order in which they were entered: several, if they run in parallel."""


@dataclass(eq=False, slots=True)
class Stages:
    """The stages of one attempt: a tree. The present one is the innermost of the task's own line."""

    root: Stage = field(default_factory=Stage)
    times: StageTimes | None = None
    """Measures the root's children; None if nobody asks how long they take."""
    _present: Stage | None = None
    _highest: float | None = None
    _ends: list[float] | None = field(default_factory=list)
    """Of the root's children, as shares of the whole; None where they are unknown or too many."""
    _borders: tuple[float, ...] = ()

    @property
    def present(self) -> Stage:
        """The innermost stage that was entered without a `parent` and is not over."""
        return self._present or self.root

    def enter(self, name: str, weight: float = 1, of: float | None = None, *, parent: Stage | None = None) -> Stage:
        """Begin a stage within the present one; raise `ValueError` for a weight that is no positive number.

        `parent`: begin it within this one instead, in parallel; the present one stays.
        """
        weight = _positive(weight, "weight")
        is_parallel, parent = parent is not None, parent or self.present
        if of is not None:
            parent.weights_sum = _positive(of, "of")
        weights_sum = parent.weights_sum
        parent.children += 1
        parent.is_even = parent.is_even and weight == 1
        divisor = weights_sum if weights_sum is not None else (1.0 if weight < 1 else None)
        share = None if divisor is None else min(1.0, weight / divisor)
        given = parent.given_share
        parent.given_share = None if given is None or share is None else given + share
        parent.children_total = _children_total(parent)
        if parent is self.root:
            self._ends = None if is_parallel else self._ends_with(parent.given_share)
            self._borders = self._find_borders()
        stage = Stage(name=name, share=share, parent=parent, number=parent.children)
        parent.open[id(stage)] = stage
        if parent is self.root and self.times is not None:
            self.times.begin(id(stage), name)
        if not is_parallel:
            self._present = stage
        return stage

    def leave(self, stage: Stage | None = None) -> None:
        """End the stage, by default the present one, as completed. Harmless for the root and when repeated."""
        stage = stage or self.present
        parent = stage.parent
        if parent is None or parent.open.pop(id(stage), None) is None:
            return
        if parent is self.root and self.times is not None:
            self.times.end(id(stage))
        is_known = parent.done_share is not None and stage.share is not None
        parent.done_share = min(1.0, (parent.done_share or 0.0) + (stage.share or 0.0)) if is_known else None
        if stage is self._present:
            self._present = parent

    def open_ancestor(self, stage: Stage | None) -> Stage:
        """The stage itself, if it is not over, else the innermost of those around it that is not."""
        while stage is not None and stage.parent is not None:
            if id(stage) in stage.parent.open:
                return stage
            stage = stage.parent
        return self.root

    def sample(self, shown: Stage | None = None) -> Progress:
        """Return the fraction of the whole, and the count and message of one stage.

        `shown`: by default the present stage. If its children run in parallel, the first of them stands for all.
        """
        if shown is None:
            shown = self.present
            while children := list(shown.open.values()):
                shown = children[0]
        total = number(shown.total)
        current = number(shown.current)
        if total is not None and current is not None and current > total:
            total = None  # There is more than the task said, so the total is unknown.
        if not current and total is None and not shown.unit:
            current = None  # The stage does not count, so 0 would be misleading.
        outermost = _outermost(shown)
        return Progress(
            fraction=self._highest_of(_fraction(self.root)),
            current=current,
            total=total,
            unit=bounded(str(shown.unit), SHORT_BYTES),
            message=bounded(str(shown.message), MESSAGE_BYTES),
            stage=bounded(outermost.name, SHORT_BYTES),
            step=outermost.number,
            steps=self.root.children_total,
            borders=self._borders,
        )

    def _ends_with(self, end: float | None) -> list[float] | None:
        if self._ends is None or end is None or len(self._ends) > MAX_BORDERS:
            return None
        return [*self._ends, end]

    def _find_borders(self) -> tuple[float, ...]:
        """The borders of the root's children that are known, also of those to come if all have the same weight."""
        count, ends = self.root.children_total, self._ends
        if ends is None or (count or 0) > MAX_BORDERS + 1:
            return ()
        if count is not None and self.root.is_even:
            ends = [number / count for number in range(1, count)]
        return tuple(round(end, 4) for end in ends if end < 1 - _TINY)[:MAX_BORDERS]

    def _highest_of(self, fraction: float | None) -> float | None:
        if fraction is not None:
            self._highest = max(self._highest or 0.0, min(1.0, fraction))
        return self._highest


def _children_total(parent: Stage) -> int | None:
    """How many children there will be: as many as there are, if they are the whole, or as weights of 1 fit in."""
    if parent.given_share is not None and parent.given_share >= 1 - _TINY:
        return parent.children
    weights_sum = parent.weights_sum
    if weights_sum is not None and parent.is_even and weights_sum == int(weights_sum):
        return max(int(weights_sum), parent.children)
    return None


def _outermost(stage: Stage) -> Stage:
    """The child of the root that contains the stage; the root itself for the root."""
    while stage.parent is not None and stage.parent.parent is not None:
        stage = stage.parent
    return stage


def _fraction(stage: Stage) -> float | None:
    """How much of the stage is done, with its children that are not over; None while that is unknown."""
    fraction = _own_fraction(stage)
    for child in list(stage.open.values()):
        part = _fraction(child)
        if fraction is None or child.share is None or (part is None and child.open):
            return None
        # A stage that does not count is taken as not begun until it is over.
        fraction += child.share * (part or 0.0)
    return fraction


def _own_fraction(stage: Stage) -> float | None:
    """The fraction of a stage without its children that are not over."""
    if stage.children:
        return stage.done_share
    total, current = number(stage.total), number(stage.current)
    if not total or current is None or current > total:
        return None
    return current / total


def number(value: Any) -> float | None:
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
