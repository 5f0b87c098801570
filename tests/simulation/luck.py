"""Chance that can be taken apart: a history is a list of steps, each with its own luck.

So dropping a step leaves the luck of all others as it was, and a history that broke a promise can be shrunk.
"""

import random
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

T = TypeVar("T")

STEPS = 60


class Step(NamedTuple):
    """One thing that happens, and the chance that decides its details."""

    action: str
    luck: float


class Plan(NamedTuple):
    """A whole history before it is lived."""

    seed: int
    luck: float
    steps: tuple[Step, ...]


class Luck:
    """A stream of numbers in [0, 1) from one number."""

    __slots__ = ("_x",)

    def __init__(self, x: float) -> None:
        self._x = x

    def draw(self) -> float:
        """The next number."""
        self._x = (self._x * 997.0 + 0.6180339887) % 1.0
        return self._x

    def happens(self, chance: float) -> bool:
        """True in so many of all cases."""
        return self.draw() < chance

    def between(self, low: float, high: float) -> float:
        """A number from there."""
        return low + (high - low) * self.draw()

    def pick(self, things: Sequence[T]) -> T | None:
        """One of them; None if there are none."""
        return things[int(self.draw() * len(things))] if things else None


def plan(seed: int, weights: dict[str, int], steps: int = STEPS) -> Plan:
    """The history that `seed` stands for."""
    rng = random.Random(seed)
    actions = rng.choices(list(weights), list(weights.values()), k=steps)
    return Plan(seed, rng.random(), tuple(Step(action, rng.random()) for action in actions))
