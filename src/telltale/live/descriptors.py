"""How many descriptors of this process live connections may take: each is one, and the site needs some for itself.

A process that has none to spare accepts no request, and opens neither a connection to the database nor a file.
"""

import time
from typing import Any, Final

from telltale.brokers.delivery import LossCounter

resource: Any
try:
    import resource
except ImportError:  # Windows, which has no such limit.
    resource = None

KEPT_FREE: Final = 256
"""Descriptors for all but live connections; of few, a quarter."""

refused: Final = LossCounter(
    "%d live connections were refused, because this process may have no more open files. Raise LimitNOFILE= in its "
    "unit, or `ulimit -n`."
)


def are_left(connections: int) -> bool:
    """Whether so many live connections leave enough descriptors to the rest of the process. If not, the log says so."""
    if resource is None:
        return True
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)  # Each time: a server may raise it.
    if limit == resource.RLIM_INFINITY or connections <= limit - min(KEPT_FREE, limit // 4):
        return True
    refused.add(1, now=time.monotonic())
    return False
