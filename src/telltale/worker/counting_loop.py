"""A loop over `telltale.progress`: how many items it is through, and whether it still runs. See `loops.py`.

An iteration costs about 20 ns, because the loop stores no number: it takes one turn of an endless `repeat`, and other
code asks that object how many are left.
"""

import sys
import weakref
from collections.abc import Callable
from itertools import repeat
from operator import length_hint
from typing import Any, Final

TURNS: Final = sys.maxsize
"""How many turns a loop has: more than any loop takes."""

_getrefcount: Final[Callable[[object], int]] = getattr(sys, "getrefcount", lambda _object: 1)


class CountingLoop:
    """A loop over what `progress` returned. It lives until it ends, or is left early by `break`.

    A loop that is left may keep its iterator: in a variable, or because nothing closes async iterators at once. So the
    references to the iterator are counted: a loop that runs has one more than its variables.
    """

    __slots__ = ("_current", "iterator", "references", "turns")

    iterator: "weakref.ref[Any]"
    references: int
    """How many there were while the loop ran."""
    turns: "repeat[None]"
    """The loop takes one before it fetches an item."""

    def __init__(self) -> None:
        self.turns = repeat(None, TURNS)
        self._current: tuple[int, Any] = (0, 0)
        """The turns taken, and `current` at that time."""

    @property
    def current(self) -> Any:
        """How many items the loop is through. What the task sets instead is valid until the next turn.

        The same object for each reading within one turn, because readers compare values by identity.
        """
        taken = TURNS - length_hint(self.turns)
        if taken != self._current[0]:
            self._current = (taken, taken - 1)
        return self._current[1]

    @current.setter
    def current(self, value: object) -> None:
        self._current = (TURNS - length_hint(self.turns), value)

    def begin(self, *, own_references: int = 0) -> None:
        """The loop has asked for its first item. `own_references`: those of the caller, which are not the loop's."""
        self.references = self._count_references() - own_references

    def is_running(self) -> bool:
        """Whether it has not been left. Without counts of references: until the iterator is gone."""
        count = self._count_references()
        return count > 0 and count >= self.references

    def _count_references(self) -> int:
        iterator = self.iterator()
        return 0 if iterator is None else _getrefcount(iterator)
