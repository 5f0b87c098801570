"""Stages: how far a task is, when its work has parts, and parts of parts.

A stage's share of its parent is `weight / of`. `of` is what all siblings' weights come to; a weight below 1
without it is a share of the whole (`weight=0.2`: a fifth). A weight of 1 or more without `of` says nothing
about what is still to come, so the fraction stays unknown rather than lie; the stage's own count still shows.

No clock and no lock. The task's thread sets plain attributes and enters and leaves; another thread may
`sample` meanwhile: it may be a moment off, it never raises, and the fraction never goes backwards.
"""

import math
from dataclasses import dataclass, field

from telltale.core.snapshot import MESSAGE_BYTES, SHORT_BYTES, Progress, bounded


@dataclass(eq=False, slots=True)
class Stage:
    """One part of the work. The four attributes are the task's to set, at any time, to anything."""

    name: str = ""
    share: float | None = 1.0
    """Of the parent, 0 to 1; None while unknown."""
    current: float = 0
    total: float | None = None
    unit: str = ""
    message: str = ""
    left: float | None = 0.0
    """The shares of the children that are over; None once one of them was unknown."""
    entered: int = 0
    """How many children there were."""
    of: float | None = None
    """What the children's weights come to, as the first that knew it said."""
    whole: int | None = None
    """How many children there will be, where `of` counts equal weights of 1."""


@dataclass(eq=False, slots=True)
class Stages:
    """The stages of one attempt, from the root to the one that is being done."""

    root: Stage = field(default_factory=Stage)
    _path: tuple[Stage, ...] = ()
    _highest: float | None = None

    def enter(self, name: str, weight: float = 1, of: float | None = None) -> Stage:
        """Begin a stage within the present one; raises `ValueError` for a weight that can't be one."""
        weight = _positive(weight, "weight")
        parent = self._present
        if of is not None:
            parent.of = _positive(of, "of")
        whole = parent.of if parent.of is not None else (1.0 if weight < 1 else None)
        parent.entered += 1
        if parent.of is not None and weight == 1 and parent.of == int(parent.of):
            parent.whole = int(parent.of)
        stage = Stage(name=name, share=None if whole is None else min(1.0, weight / whole))
        self._path = (*self._path, stage)
        return stage

    def leave(self) -> None:
        """The present stage is over, whole; its parent is the present one again."""
        if not self._path:
            return
        stage = self._path[-1]
        parent = self._path[-2] if len(self._path) > 1 else self.root
        known = parent.left is not None and stage.share is not None
        parent.left = min(1.0, (parent.left or 0.0) + (stage.share or 0.0)) if known else None
        self._path = self._path[:-1]

    def sample(self) -> Progress:
        """How far the whole is, and what the present stage says of itself."""
        path = self._path
        present = path[-1] if path else self.root
        total = _number(present.total)
        current = _number(present.current)
        if total is not None and current is not None and current > total:
            total = None  # There are more than was said, so how many there are is not known.
        if not current and total is None and not present.unit:
            current = None  # Nobody counts here, and "0" would say that somebody does.
        outermost = path[0] if path else None
        return Progress(
            fraction=self._never_back(self._fraction(path)),
            current=current,
            total=total,
            unit=bounded(str(present.unit), SHORT_BYTES),
            message=bounded(str(present.message), MESSAGE_BYTES),
            stage=bounded(outermost.name, SHORT_BYTES) if outermost else "",
            step=self.root.entered if outermost else 0,
            steps=self.root.whole,
        )

    @property
    def _present(self) -> Stage:
        return self._path[-1] if self._path else self.root

    def _fraction(self, path: tuple[Stage, ...]) -> float | None:
        """Of the whole: from the present stage outwards."""
        parents = (self.root, *path)
        fraction = _of_itself(path[-1] if path else self.root)
        for parent, inner in zip(reversed(parents[: len(path)]), reversed(path), strict=True):
            if parent.left is None or inner.share is None:
                return None
            # A stage that does not count has done nothing yet, as far as anybody can tell.
            fraction = parent.left + inner.share * (fraction or 0.0)
        return fraction

    def _never_back(self, fraction: float | None) -> float | None:
        if fraction is not None:
            self._highest = max(self._highest or 0.0, min(1.0, fraction))
        return self._highest


def _of_itself(stage: Stage) -> float | None:
    """The fraction of a stage in which no other is going on."""
    if stage.entered:
        return stage.left
    total, current = _number(stage.total), _number(stage.current)
    if not total or current is None or current > total:
        return None
    return current / total


def _number(value: object) -> float | None:
    """What a task set, if it is a number that can be shown; None otherwise."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return value if math.isfinite(value) and 0 <= value < 1e15 else None
    except OverflowError:
        return None


def _positive(value: object, what: str) -> float:
    if not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
        raise ValueError(
            f"A stage's {what} is {value!r}: give a number above 0, such as weight=0.2, or weight=1, of=3."
        )
    return float(value)
