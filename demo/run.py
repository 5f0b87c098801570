"""`python -m demo.run`: serves the demo until Ctrl-C, then ends all its processes.

There are two processes: an ASGI web server and a worker. If the worker dies, which a button on the page can cause,
another is started a second later. Environment: `PORT` (8000), `HOST` (127.0.0.1), `DEMO_DIR` (var/demo).
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

ROOT = Path(__file__).resolve().parent.parent
RESTART_S = 1.0
"""Pause before a dead worker is replaced."""
REQUIRED = ("airportsdata", "django_tasks_db", "telltale", "uvicorn", "websockets")
END_WITHIN_S = 4.0
"""How long a process may take to end after SIGTERM, before SIGKILL."""


def environment(directory: Path) -> dict[str, str]:
    """Return the environment of the demo's processes; the checkout's own `telltale` comes first in the path."""
    path = os.pathsep.join(filter(None, [str(ROOT / "src"), str(ROOT), os.environ.get("PYTHONPATH")]))
    return os.environ | {"DEMO_DIR": str(directory), "PYTHONPATH": path, "DJANGO_SETTINGS_MODULE": "demo.settings"}


def web_command(host: str, port: int) -> list[str]:
    """Return the command of the ASGI server. Live streams never end by themselves, so its shutdown has a time limit."""
    return [
        *(sys.executable, "-m", "uvicorn", "demo.asgi:application", "--host", host, "--port", str(port)),
        *("--log-level", "warning", "--timeout-graceful-shutdown", "2", "--lifespan", "auto"),
    ]


def worker_command() -> list[str]:
    """Return the command of the worker, which looks for tasks four times a second."""
    options = ("--interval", "0.25", "--no-startup-delay", "--no-reload")
    return [sys.executable, "-m", "demo.manage", "db_worker", *options]


class Supervisor:
    """Starts both processes, replaces a dead worker, ends both."""

    def __init__(self, directory: Path, runtime_directory: str, host: str, port: int) -> None:
        """`runtime_directory`: for the sockets of the local broker, whose paths must be short."""
        self.directory, self.host, self.port = directory, host, port
        self.environment = environment(directory) | {"DEMO_SOCKETS": runtime_directory}
        self.processes: list[subprocess.Popen[bytes]] = []
        self.is_stopping = False

    def run(self) -> int:
        """Run until a signal, or until the web server dies; return the exit status."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._stop)
        with self._ending_processes():
            if self._start([sys.executable, "-m", "demo.manage", "prepare"]).wait():
                log(f"The demo can't start; see the error above. Its files are in {self.directory}.")
                return 1
            web = self._start(web_command(self.host, self.port))
            worker = self._start_worker()
            if _is_listening(self.host, self.port, web):
                log(f"The demo is running at http://{self.host}:{self.port}/ (press Ctrl-C to stop)")
            while not self.is_stopping and web.poll() is None:
                if worker.poll() is not None:
                    log(_worker_ended(worker.returncode))
                    time.sleep(RESTART_S)
                    worker = self._start_worker()
                time.sleep(0.1)
        return 0 if self.is_stopping else 1

    def _start(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        # In a session of its own: Ctrl-C in the terminal reaches only the supervisor, which then ends both processes.
        process = subprocess.Popen(command, env=self.environment, cwd=ROOT, start_new_session=True)
        self.processes.append(process)
        return process

    def _start_worker(self) -> subprocess.Popen[bytes]:
        worker = self._start(worker_command())
        (self.directory / "worker.pid").write_text(str(worker.pid))
        return worker

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self.is_stopping = True

    @contextlib.contextmanager
    def _ending_processes(self) -> Iterator[None]:
        try:
            yield
        finally:
            (self.directory / "worker.pid").unlink(missing_ok=True)
            end(self.processes)


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


def log(message: str) -> None:
    """Print a message at once."""
    sys.stdout.write(message + "\n")
    sys.stdout.flush()


def main(environ: Mapping[str, str] = os.environ) -> int:
    """Check the environment, then run; return the exit status."""
    missing = [package for package in REQUIRED if find_spec(package) is None]
    if missing:
        log(f"The demo needs {', '.join(missing)}. Install it by `make demo` or `pip install --group demo`.")
        return 1
    host, port = environ.get("HOST") or "127.0.0.1", environ.get("PORT") or "8000"
    if error := _port_error(host, port):
        log(f"Port {port} of {host} can't be used: {error}. Choose another one: PORT=8123 make demo")
        return 1
    directory = Path(environ.get("DEMO_DIR") or ROOT / "var" / "demo").resolve()
    directory.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="telltale-demo-") as runtime_directory:
        return Supervisor(directory, runtime_directory, host, int(port)).run()


def _port_error(host: str, port: str) -> str:
    """Return why the port can't be used; empty if it can."""
    if not port.isdecimal() or not 0 < int(port) < 65_536:
        return "it is not a number from 1 to 65535"
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(port)))
        except OSError as error:
            return error.strerror or str(error)
    return ""


def _worker_ended(status: int) -> str:
    if status == -signal.SIGKILL:
        return "The worker was killed. Starting another."
    return f"The worker ended with status {status}; see the error above. Starting another."


def _is_listening(host: str, port: int, web: subprocess.Popen[bytes]) -> bool:
    """Wait until the web server listens; return False if it died before."""
    while web.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1):
            return True
        time.sleep(0.05)
    return False


if __name__ == "__main__":
    sys.exit(main())
