"""Random numbers that can be taken apart: a history is a list of steps, and each step has a seed of its own.

So dropping a step leaves the random numbers of all others as they were, and a history that broke a promise can be
shortened.
"""

import random
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

T = TypeVar("T")

STEPS = 60


class Step(NamedTuple):
    """One action, and the seed of its details."""

    action: str
    seed: float


class Plan(NamedTuple):
    """A history before it is run."""

    seed: int
    healing_seed: float
    steps: tuple[Step, ...]


class Rng:
    """A sequence of numbers in [0, 1), made from one number."""

    __slots__ = ("_x",)

    def __init__(self, seed: float) -> None:
        self._x = seed

    def draw(self) -> float:
        """Return the next number."""
        self._x = (self._x * 997.0 + 0.6180339887) % 1.0
        return self._x

    def happens(self, probability: float) -> bool:
        """Return True with this probability."""
        return self.draw() < probability

    def between(self, low: float, high: float) -> float:
        """Return a number in this range."""
        return low + (high - low) * self.draw()

    def pick(self, items: Sequence[T]) -> T | None:
        """Return one of `items`; None if there are none."""
        return items[int(self.draw() * len(items))] if items else None


def plan(seed: int, weights: dict[str, int], steps: int = STEPS) -> Plan:
    """Return the history of `seed`."""
    rng = random.Random(seed)
    actions = rng.choices(list(weights), list(weights.values()), k=steps)
    return Plan(seed, rng.random(), tuple(Step(action, rng.random()) for action in actions))
