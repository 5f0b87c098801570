"""Starts a server under test with its Redis and its load generator, and reads what its processes cost."""

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.rig import machine
from benchmarks.rig.contender import Contender, Workspace
from benchmarks.rig.load import LoadGenerator, LoadReport, load_generator
from benchmarks.rig.paths import ROOT

READY_WITHIN_S: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """CPU time in microseconds that each process ran during an action, and the load generator's report of it."""

    report: LoadReport
    server_us: float
    redis_us: float
    load_us: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningServer:
    """A server under test that is ready, with its Redis and its load generator."""

    contender: Contender
    workspace: Workspace
    pid: int
    redis_pid: int
    load: LoadGenerator
    start_s: float
    """Wall time from the server's start until it accepted connections."""

    def cost(self, action: Callable[[], LoadReport]) -> Cost:
        """Run `action` and return the CPU time that it took."""
        processes = (self.pid, self.redis_pid, self.load.pid)
        before = [machine.cpu_us(pid) for pid in processes]
        report = action()
        after = [machine.cpu_us(pid) for pid in processes]
        server_us, redis_us, load_us = (end - start for start, end in zip(before, after, strict=True))
        return Cost(report=report, server_us=server_us, redis_us=redis_us, load_us=load_us)


@contextmanager
def running(contender: Contender, *, followers: int, topics: int = 1) -> Iterator[RunningServer]:
    """Start the contender, a Redis of its own and a load generator for up to `followers`; stop all three afterwards."""
    with workspace() as here:
        in_memory = ["--save", "", "--dir", str(here.directory), "--bind", "127.0.0.1"]
        redis = ["redis-server", "--port", str(here.redis_port), *in_memory]
        with started(redis, here.redis_port, here.directory / "redis.log") as redis_pid:
            contender.prepare(here)
            command, env, log = contender.command(here), contender.env(here), here.directory / "server.log"
            began = time.monotonic()
            with started(command, here.port, log, env) as pid:
                start_s = time.monotonic() - began
                with load_generator(contender, here, followers=followers, topics=topics) as load:
                    yield RunningServer(
                        contender=contender, workspace=here, pid=pid, redis_pid=redis_pid, load=load, start_s=start_s
                    )


@contextmanager
def workspace() -> Iterator[Workspace]:
    """A temporary directory, which is removed afterwards, and two free ports."""
    with tempfile.TemporaryDirectory(prefix="telltale-bench-") as directory:
        yield Workspace(Path(directory), _free_port(), _free_port())


@contextmanager
def started(command: list[str], port: int, log: Path, env: dict[str, str] | None = None) -> Iterator[int]:
    """The process id of `command`, pinned to the server's core, once it listens on `port`; killed afterwards."""
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
        _kill(process)


def _await_port(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while True:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if process.poll() is not None or time.monotonic() > deadline:
            output = log.read_text(errors="replace")[-4000:]
            raise RuntimeError(f"Nothing listens on port {port}: {process.args!r}\n{output}")
        time.sleep(0.05)


def _kill(process: "subprocess.Popen[bytes]") -> None:
    # A graceful stop would take some servers seconds, and nothing here needs one.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(10)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
