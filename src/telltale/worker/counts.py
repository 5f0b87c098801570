"""What this process has done with attempts since it started: for `telltale.metrics`."""

from collections import Counter
from typing import Final

from telltale import native

_counts: Final = native.PerProcess[Counter[str]](Counter)


def counts() -> Counter[str]:
    """This process's counts; a forked child begins with none.

    Attempts `begun`, `ended <state>`, `taken back` (presumed lost by mistake) and `superseded` (by a newer attempt);
    reports `saved`; ends `spooled`. Threads count without a lock: a number may be one too small.
    """
    return _counts.get()
