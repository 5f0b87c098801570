"""What the rig must know of a server under test, and how one is started and stopped.

To add one: subclass `Contender`, and name it in `benchmarks/visits/plan.py`.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final, Literal, NamedTuple

from benchmarks.rig import machine, message

ROOT: Final = Path(__file__).parents[2]
READY_S: Final = 30.0

PEERS_PYTHON: Final = str(ROOT / ".venv-bench" / "bin" / "python")
OUR_PYTHON: Final = sys.executable


class Ask(NamedTuple):
    """How one follower asks to follow."""

    path: str
    header: str = ""
    """One more header, whole, or none."""
    message: str = ""
    """Its first message, which the server answers; empty: it follows once its handshake is answered."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server under test lives for a few seconds."""

    directory: Path
    port: int
    redis_port: int

    @property
    def control(self) -> Path:
        """The Unix socket that feeds those who know no Redis."""
        return self.directory / "control"

    @property
    def redis_url(self) -> str:
        """For those who do."""
        return f"redis://127.0.0.1:{self.redis_port}/0"


class Contender:
    """A server under test. All that is particular to one start of it is in the `Place`."""

    name: ClassVar[str]
    transport: ClassVar[Literal["ws", "sse"]] = "ws"
    is_fed_by_redis: ClassVar[bool] = False
    publish: list[str] | tuple[()] = ()
    """The command that publishes one message through Redis, where it is fed by that."""
    _sample: bytes | None = None

    def command(self, place: Place) -> list[str]:
        """What to start; it is ready when it listens on 127.0.0.1:`place.port`."""
        raise NotImplementedError

    def env(self, place: Place) -> dict[str, str]:
        """What its processes, and the publishing one, find in their environment."""
        return {
            **os.environ,
            "BENCH_CONTROL": str(place.control),
            "BENCH_DIRECTORY": str(place.directory),
            "BENCH_REDIS": place.redis_url,
        }

    def prepare(self, place: Place) -> None:
        """Whatever must be there before it starts."""

    def asks(self, place: Place, followers: int, topics: int) -> Iterable[Ask]:
        """How each of the followers asks; these are asked again from the first when they are used up."""
        return (Ask(f"/live/{message.topic(number)}") for number in range(topics))

    def feed(self, place: Place) -> str:
        """Where messages go in, as native/feed.h wants it."""
        return f"tcp:127.0.0.1:{place.redis_port}" if self.is_fed_by_redis else f"unix:{place.control}"

    def sample(self, place: Place) -> bytes:
        """One message, as it goes in."""
        if not self.is_fed_by_redis:
            return message.line()
        if self._sample is None:
            self._sample = message.recorded(self.publish, self.env(place), place.redis_port, ROOT)
        return self._sample


@contextmanager
def place() -> Iterator[Place]:
    """An empty directory and free ports, which go again."""
    with tempfile.TemporaryDirectory(prefix="telltale-bench-") as directory:
        yield Place(Path(directory), _free_port(), _free_port())


@contextmanager
def started(command: list[str], port: int, log: Path, env: dict[str, str] | None = None) -> Iterator[int]:
    """The process id of `command`, pinned to the server's core, once it listens on `port`; ended afterwards."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            machine.pinned(machine.SERVER_CORE, command),
            cwd=ROOT,
            env=env,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _await_port(port, process, log)
        yield process.pid
    finally:
        _end(process)


def _await_port(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    patience = time.monotonic() + READY_S
    while True:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if process.poll() is not None or time.monotonic() > patience:
            raise RuntimeError(f"Nobody listens on {port}: {process.args}\n{log.read_text(errors='replace')[-4000:]}")
        time.sleep(0.05)


def _end(process: "subprocess.Popen[bytes]") -> None:
    # Nothing that it holds is worth a gentle end, for which some servers take seconds.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(10)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
