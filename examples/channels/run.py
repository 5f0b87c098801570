"""`python run.py`: runs the example until Ctrl-C, and leaves nothing behind.

Four processes: Redis on a port of its own, daphne, and a worker for each version. A worker that dies, which a button
on the pages can cause, is replaced a second later. Environment: `PORT` (8000), and `REDIS_URL` to use a Redis that
runs already.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType

HERE = Path(__file__).resolve().parent
SOURCE = HERE.parents[1] / "src"
HOST = "127.0.0.1"
WORKERS = {
    "by-hand": ("manage.py", "runworker", "by-hand-report"),
    "with-telltale": ("manage.py", "telltale", "worker", "--channels", "telltale-report"),
}
END_WITHIN_S = 4.0
"""How long a process may take to end after SIGTERM, before SIGKILL."""
RESTART_S = 1.0
"""Pause before a dead worker is replaced."""


class Example:
    """The processes of the example, and the directory with their files."""

    def __init__(self, directory: Path, port: int, redis_url: str | None) -> None:
        self.directory, self.port = directory, port
        self._redis_port = free_port()
        self._starts_redis = not redis_url
        path = os.pathsep.join(filter(None, [str(HERE), str(SOURCE), os.environ.get("PYTHONPATH")]))
        self.environment = os.environ | {
            "DJANGO_SETTINGS_MODULE": "project.settings",
            "EXAMPLE_DIR": str(directory),
            "PYTHONPATH": path,
            "REDIS_URL": redis_url or f"redis://{HOST}:{self._redis_port}/0",
        }
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        self._processes: list[subprocess.Popen[bytes]] = []
        self._is_stopping = False

    def run(self) -> int:
        """Run until a signal, or until daphne dies; return the exit status."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._stop)
        with self._ending_processes():
            if self._starts_redis:
                options = ("--port", str(self._redis_port), "--bind", HOST, "--save", "", "--logfile", "redis.log")
                redis = self._start("redis-server", *options, "--dir", str(self.directory))
                if not self._answers(self._redis_port, redis):
                    log((self.directory / "redis.log").read_text())
                    return 1
            if self._python("manage.py", "migrate", "--verbosity", "0").wait():
                return 1
            server = self._python(
                "-m", "daphne", "-v", "0", "-b", HOST, "-p", str(self.port), "project.asgi:application"
            )
            for name in WORKERS:
                self._start_worker(name)
            if self._answers(self.port, server):
                log(f"The example is running at http://{HOST}:{self.port}/ (press Ctrl-C to stop)")
            while not self._is_stopping and server.poll() is None:
                self._replace_dead_workers()
                time.sleep(0.1)
        return 0 if self._is_stopping else 1

    def _replace_dead_workers(self) -> None:
        for name, worker in list(self.workers.items()):
            if worker.poll() is not None:
                log(f"The worker {name} ended with status {worker.returncode}. Starting another.")
                time.sleep(RESTART_S)
                self._start_worker(name)

    def _start_worker(self, name: str) -> None:
        self.workers[name] = self._python(*WORKERS[name])
        (self.directory / f"{name}.pid").write_text(str(self.workers[name].pid))

    def _python(self, *arguments: str) -> subprocess.Popen[bytes]:
        return self._start(sys.executable, *arguments)

    def _start(self, *command: str) -> subprocess.Popen[bytes]:
        # In a session of its own: Ctrl-C reaches only this process, which then ends the others in order.
        process = subprocess.Popen(command, env=self.environment, cwd=HERE, start_new_session=True)  # noqa: S603
        self._processes.append(process)
        return process

    def _answers(self, port: int, process: subprocess.Popen[bytes]) -> bool:
        while process.poll() is None and not self._is_stopping:
            with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1):
                return True
            time.sleep(0.05)
        return False

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._is_stopping = True

    @contextlib.contextmanager
    def _ending_processes(self) -> Iterator[None]:
        try:
            yield
        finally:
            # Redis last: the other processes still use it while they end.
            first = self._processes[:1] if self._starts_redis else []
            end(self._processes[len(first) :])
            end(first)


def end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Send SIGTERM to all processes, and SIGKILL to those that have not ended in time."""
    alive = [process for process in processes if process.poll() is None]
    for process in alive:
        process.terminate()
    until = time.monotonic() + END_WITHIN_S
    for process in alive:
        try:
            process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def is_free(port: int) -> bool:
    """Whether a server can listen on the port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def log(message: str) -> None:
    """Print a message at once."""
    sys.stdout.write(message + "\n")
    sys.stdout.flush()


def main(environ: Mapping[str, str] = os.environ) -> int:
    """Check the environment, then run; return the exit status."""
    port, redis_url = environ.get("PORT") or "8000", environ.get("REDIS_URL")
    if not port.isdecimal() or not 0 < int(port) < 65_536 or not is_free(int(port)):
        log(f"PORT is {port}, which is not a free port from 1 to 65535. Choose another one: PORT=8123 python run.py")
        return 1
    if not redis_url and shutil.which("redis-server") is None:
        log("The example needs Redis, but there is no redis-server here. Install it, or set REDIS_URL.")
        return 1
    with tempfile.TemporaryDirectory(prefix="telltale-channels-") as directory:
        return Example(Path(directory), int(port), redis_url).run()


if __name__ == "__main__":
    sys.exit(main())
