"""Find out whether a second process of this machine uses the in-memory layer, which carries nothing to it.

A file is locked by the first process. Nothing depends on the lock but a line in the log.
"""

import os
import tempfile
from pathlib import Path
from typing import Any

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows: no line in the log.
    fcntl = None


class ProcessLock:
    """A lock that one process of the site holds until it ends or calls `release`."""

    def __init__(self, site: str) -> None:
        directory = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
        user = os.geteuid() if hasattr(os, "geteuid") else ""
        self._path = Path(directory) / f"telltale-{user}-{site}-channels.lock"
        self._descriptor: int | None = None

    def other_process(self) -> str | None:
        """Take the lock; if another process holds it, return that process's number."""
        if fcntl is None or self._descriptor is not None:
            return None
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            number = os.read(descriptor, 20).decode(errors="replace").strip()
            os.close(descriptor)
            return number or "unknown"
        os.ftruncate(descriptor, 0)
        os.write(descriptor, b"%d\n" % os.getpid())
        self._descriptor = descriptor
        return None

    def release(self) -> None:
        """Release the lock; harmless when repeated, and in a forked child."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)
