"""The machine: cores, limits, a lock against parallel runs, and CPU time and memory of processes.

Reads /proc, so it needs Linux. Knows no server and no load generator.
"""

import fcntl
import os
import platform
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

SERVER_CORE: Final = 0
"""The core of the server under test and its Redis."""
LOAD_CORE: Final = 1
"""The core of the followers and the publisher."""

PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
HIGHEST_PRIORITY: Final = "-20"


def description() -> str:
    """Cores, CPU, kernel and Python in one line."""
    return f"{os.cpu_count()} cores of {cpu_model()}, Linux {platform.release()}, Python {platform.python_version()}"


def cpu_model() -> str:
    """The name of the CPU; the architecture if the kernel tells no name."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return models[0].split(":", 1)[1].strip() if models else platform.machine()


def pinned(core: int, command: list[str]) -> list[str]:
    """`command` restricted to one core. The kernel kills it when its parent ends for any reason."""
    return ["setpriv", "--pdeathsig", "KILL", "taskset", "-c", str(core), *command]


@contextmanager
def exclusive(lock: Path) -> Iterator[None]:
    """Hold the lock file, so that only one run measures at a time; raises `BlockingIOError` if another run holds it."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def raise_limits() -> None:
    """Raise the limit of open files to the account's maximum; processes started later inherit it."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def prioritise(*pids: int) -> None:
    """Give the sessions of these processes, and our own, precedence over all others, if the account may do that."""
    for pid in (*pids, os.getpid()):
        # Where the kernel groups processes by session, a process's nice value counts within its session only.
        with suppress(OSError):
            Path(f"/proc/{pid}/autogroup").write_text(HIGHEST_PRIORITY)


def cpu_us(pid: int) -> float:
    """CPU time in microseconds of all threads of this process and its descendants, by the scheduler's clock.

    Threads that have ended are not included: compare two readings of a server that keeps its threads.
    """
    return sum(_run_time_ns(thread) for process in process_tree(pid) for thread in _threads(process)) / 1_000


def resident_bytes(pid: int) -> int:
    """Resident memory of this process and its descendants; the kernel's memory for sockets is not included."""
    return sum(_resident_pages(process) for process in process_tree(pid)) * PAGE_BYTES


def process_tree(pid: int) -> Iterator[int]:
    """The process and all its living descendants."""
    yield pid
    for thread in _threads(pid):
        with suppress(OSError):
            for child in (thread / "children").read_text().split():
                yield from process_tree(int(child))


def _threads(pid: int) -> list[Path]:
    with suppress(OSError):
        return list(Path(f"/proc/{pid}/task").iterdir())
    return []


def _run_time_ns(thread: Path) -> int:
    with suppress(OSError):
        return int((thread / "schedstat").read_text().split()[0])
    return 0


def _resident_pages(pid: int) -> int:
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return 0
