"""Whether a loop over `telltale.progress` still runs, or was left early. Knows nothing of progress; see `loops.py`."""

import sys
import weakref
from collections.abc import Callable
from typing import Any, Final

_getrefcount: Final[Callable[[object], int]] = getattr(sys, "getrefcount", lambda _object: 1)


class CountingLoop:
    """A loop over what `progress` returned. It lives until it ends, or is left early by `break`.

    A loop that is left may keep its iterator: in a variable, or because nothing closes async iterators at once. So the
    references to the iterator are counted: a loop that runs has one more than its variables.
    """

    __slots__ = ("iterator", "references")

    iterator: "weakref.ref[Any]"
    references: int
    """How many there were while the loop ran."""

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
