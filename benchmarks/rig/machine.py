"""The machine under the benchmark: which core serves and which loads, and the kernel's own clocks of a process.

Reads /proc, so it needs Linux. Knows no server and no load.
"""

import fcntl
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

SERVER_CORE: Final = 0
"""Where the server under test runs, and its Redis."""
LOAD_CORE: Final = 1
"""Where the followers and the publisher run."""

PAGE: Final = os.sysconf("SC_PAGE_SIZE")


def pinned(core: int, command: list[str]) -> list[str]:
    """`command` on that core alone, and ended when whoever starts it ends, however that comes about."""
    return ["setpriv", "--pdeathsig", "KILL", "taskset", "-c", str(core), *command]


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Nobody else measures here meanwhile; raises `BlockingIOError` if somebody does."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def raise_limits() -> None:
    """As many open files as this account may have; processes started later inherit it."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def cpu_us(pid: int) -> float:
    """Microseconds that all threads of this process and its children have run, by the scheduler's clock.

    A thread that has ended is in it no more: compare two readings of a server that is up and running.
    """
    return sum(_ran_ns(thread) for each in family(pid) for thread in _threads(each)) / 1_000


def resident_bytes(pid: int) -> int:
    """Memory of this process and its children that is in RAM. The kernel's part of a socket is not in it."""
    return sum(_resident_pages(each) for each in family(pid)) * PAGE


def family(pid: int) -> Iterator[int]:
    """The process and all its descendants that live."""
    yield pid
    for thread in _threads(pid):
        with suppress(OSError):
            for child in (thread / "children").read_text().split():
                yield from family(int(child))


def _threads(pid: int) -> list[Path]:
    with suppress(OSError):
        return list(Path(f"/proc/{pid}/task").iterdir())
    return []


def _ran_ns(thread: Path) -> int:
    with suppress(OSError):
        return int((thread / "schedstat").read_text().split()[0])
    return 0


def _resident_pages(pid: int) -> int:
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return 0
