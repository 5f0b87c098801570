"""`python -m demo.run`: serves the demo until Ctrl-C, then leaves nothing behind.

Two processes: an ASGI web server and a worker. The worker may die at any time (the page has a button for
that); another takes its place a second later. `PORT` (8000), `HOST` (127.0.0.1) and `DEMO_DIR` (var/demo) say where.
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
from types import FrameType

ROOT = Path(__file__).resolve().parent.parent
RESTART_S = 1.0
"""How long the worker's place stays empty."""
NEEDED = ("airportsdata", "django_tasks_db", "telltale", "uvicorn", "websockets")
FAREWELL_S = 4.0
"""How long a process may take to end when asked to."""


def environment(directory: Path) -> dict[str, str]:
    """What the demo's processes are started with; the checkout's own `telltale` comes first."""
    path = os.pathsep.join(filter(None, [str(ROOT / "src"), str(ROOT), os.environ.get("PYTHONPATH")]))
    return os.environ | {"DEMO_DIR": str(directory), "PYTHONPATH": path, "DJANGO_SETTINGS_MODULE": "demo.settings"}


def web_command(host: str, port: int) -> list[str]:
    """The ASGI server; live streams never end by themselves, so its shutdown gets a limit."""
    return [
        *(sys.executable, "-m", "uvicorn", "demo.asgi:application", "--host", host, "--port", str(port)),
        *("--log-level", "warning", "--timeout-graceful-shutdown", "2", "--lifespan", "auto"),
    ]


def worker_command() -> list[str]:
    """The worker, which looks for work four times a second."""
    options = ("--interval", "0.25", "--no-startup-delay", "--no-reload")
    return [sys.executable, "-m", "demo.manage", "db_worker", *options]


class Supervisor:
    """Starts both processes, keeps a worker there, ends both."""

    def __init__(self, directory: Path, host: str, port: int) -> None:
        self.directory, self.host, self.port = directory, host, port
        self.environment = environment(directory)
        self.processes: list[subprocess.Popen[bytes]] = []
        self.is_asked_to_end = False

    def run(self) -> int:
        """Until asked to end, or until the web server dies; returns the exit status."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._end)
        with self._cleanly():
            if self._start([sys.executable, "-m", "demo.manage", "prepare"]).wait():
                say(f"The demo can't begin: what is wrong stands above. Its files are in {self.directory}.")
                return 1
            web = self._start(web_command(self.host, self.port))
            worker = self._start_worker()
            if _is_there(self.host, self.port, web):
                say(f"The demo is at http://{self.host}:{self.port}/ (Ctrl-C ends it)")
            while not self.is_asked_to_end and web.poll() is None:
                if worker.poll() is not None:
                    say(_last_words(worker.returncode))
                    time.sleep(RESTART_S)
                    worker = self._start_worker()
                time.sleep(0.1)
        return 0 if self.is_asked_to_end else 1

    def _start(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        # In sessions of their own: a Ctrl-C in the terminal reaches only us, and we end both in good order.
        process = subprocess.Popen(command, env=self.environment, cwd=ROOT, start_new_session=True)
        self.processes.append(process)
        return process

    def _start_worker(self) -> subprocess.Popen[bytes]:
        worker = self._start(worker_command())
        (self.directory / "worker.pid").write_text(str(worker.pid))
        return worker

    def _end(self, _number: int, _frame: FrameType | None) -> None:
        self.is_asked_to_end = True

    @contextlib.contextmanager
    def _cleanly(self) -> Iterator[None]:
        try:
            yield
        finally:
            (self.directory / "worker.pid").unlink(missing_ok=True)
            end(self.processes)


def end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Asks all to end, and makes those that don't."""
    living = [process for process in processes if process.poll() is None]
    for process in living:
        process.terminate()
    until = time.monotonic() + FAREWELL_S
    for process in living:
        try:
            process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def say(words: str) -> None:
    """To whoever started the demo."""
    sys.stdout.write(words + "\n")
    sys.stdout.flush()


def main(environ: Mapping[str, str] = os.environ) -> int:
    """Reads the environment and runs; what can't work is said before anything starts."""
    missing = [package for package in NEEDED if find_spec(package) is None]
    if missing:
        say(f"The demo needs {', '.join(missing)}: `make demo` installs it, or `pip install --group demo`.")
        return 1
    host, port = environ.get("HOST") or "127.0.0.1", environ.get("PORT") or "8000"
    if trouble := _trouble(host, port):
        say(f"Port {port} of {host} can't be used: {trouble}. Choose another: PORT=8123 make demo")
        return 1
    directory = Path(environ.get("DEMO_DIR") or ROOT / "var" / "demo").resolve()
    directory.mkdir(parents=True, exist_ok=True)
    return Supervisor(directory, host, int(port)).run()


def _trouble(host: str, port: str) -> str:
    """Why nobody can listen there; empty if one can."""
    if not port.isdecimal() or not 0 < int(port) < 65_536:
        return "it is not a number from 1 to 65535"
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(port)))
        except OSError as error:
            return error.strerror or str(error)
    return ""


def _last_words(status: int) -> str:
    if status == -signal.SIGKILL:
        return "The worker was killed. Another begins."
    return f"The worker ended by itself (status {status}); why stands above. Another begins."


def _is_there(host: str, port: int, web: subprocess.Popen[bytes]) -> bool:
    """Waits until the web server listens; False if it died before."""
    while web.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1):
            return True
        time.sleep(0.05)
    return False


if __name__ == "__main__":
    sys.exit(main())
