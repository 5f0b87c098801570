"""The processes of the soak, and what they use: memory, file descriptors, threads, CPU time."""

import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from tests.servers import spawn

SAMPLE_S: Final = 2.0


class Usage(NamedTuple):
    """What a process uses at one moment."""

    at: float
    rss_kib: int
    descriptors: int
    threads: int
    cpu_s: float


def usage_of(pid: int) -> Usage | None:
    """What the process uses now; None if it has ended."""
    folder = Path(f"/proc/{pid}")
    try:
        status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
        words = (folder / "stat").read_text().rpartition(") ")[2].split()
        descriptors = len(os.listdir(folder / "fd"))
    except (OSError, KeyError, ValueError):
        return None
    if "VmRSS" not in status:
        return None
    ticks = os.sysconf("SC_CLK_TCK")
    cpu_s = (int(words[11]) + int(words[12])) / ticks
    return Usage(time.monotonic(), int(status["VmRSS"].split()[0]), descriptors, int(status["Threads"]), cpu_s)


@dataclass
class Monitor:
    """Samples processes in a thread; a process that is restarted keeps its name."""

    pids: dict[str, int] = field(default_factory=dict)
    samples: dict[str, list[Usage]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="monitor")
        self._thread.start()

    def _run(self) -> None:
        while not self._is_over.wait(SAMPLE_S):
            for name, pid in list(self.pids.items()):
                if (usage := usage_of(pid)) is not None:
                    self.samples.setdefault(name, []).append(usage)

    def close(self) -> None:
        """End the thread."""
        self._is_over.set()
        self._thread.join()

    def growth(self, name: str, since: float) -> "Growth":
        """How the process has grown since then."""
        samples = [usage for usage in self.samples.get(name, ()) if usage.at >= since]
        quarter = max(1, len(samples) // 4)
        first, last = samples[:quarter], samples[-quarter:]
        hours = (last[-1].at - first[0].at) / 3_600 * 0.75
        rss = [statistics.median(usage.rss_kib for usage in part) / 1_024 for part in (first, last)]
        return Growth(
            rss_mib=(round(rss[0], 1), round(rss[1], 1)),
            mib_per_hour=round((rss[1] - rss[0]) / hours, 2) if hours > 0 else 0.0,
            descriptors=(max(usage.descriptors for usage in first), max(usage.descriptors for usage in last)),
            threads=(max(usage.threads for usage in first), max(usage.threads for usage in last)),
            core_share=round((last[-1].cpu_s - first[0].cpu_s) / max(0.001, last[-1].at - first[0].at), 3),
        )


class Growth(NamedTuple):
    """The first and the last quarter of a time without faults. `rss_mib`: medians; the others: the largest."""

    rss_mib: tuple[float, float]
    mib_per_hour: float
    descriptors: tuple[int, int]
    threads: tuple[int, int]
    core_share: float


class Worker:
    """A process that reports for the owners `first` to `last`."""

    def __init__(self, log: Path, env: Mapping[str, str], arguments: Sequence[str]) -> None:
        self._log, self._env, self._arguments = log, env, arguments
        self.start()

    def start(self) -> None:
        """Start it, or start it again."""
        with self._log.open("ab") as out:
            command = [sys.executable, "-W", "ignore", "-m", "tests.load.soak.worker", *self._arguments]
            self._process = spawn(command, self._env, out)

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        """As the kernel does when memory runs out."""
        self._process.kill()
        self._process.wait()

    def stop(self, patience_s: float = 120.0) -> None:
        """Let its tasks end."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(patience_s)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
        assert self._process.returncode in (0, -signal.SIGKILL), self._log.read_text(errors="replace")
