"""`python run.py`: runs the web server and the worker until Ctrl-C. Environment: `PORT` (8000)."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
HOST = "127.0.0.1"
END_WITHIN_S = 10.0
"""How long a process may take to end after SIGTERM, before SIGKILL."""


def run(directory: str, port: str) -> int:
    """Run until a signal, or until a process ends by itself; return the exit status."""
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "project.settings", "EXAMPLE_DIR": directory, "PORT": port}

    def start(*arguments: str) -> "subprocess.Popen[bytes]":
        # In a session of its own: Ctrl-C reaches only this process, which then ends the others.
        return subprocess.Popen([sys.executable, *arguments], env=environment, cwd=HERE, start_new_session=True)  # noqa: S603

    if start("manage.py", "migrate", "--verbosity", "0").wait():
        return 1
    server = ("-m", "uvicorn", "--host", HOST, "--port", port, "--log-level", "warning", "project.asgi:application")
    processes = [start(*server), start("manage.py", "db_worker", "--no-reload", "--interval", "0.2")]
    try:
        sys.stdout.write(f"The example is running at http://{HOST}:{port}/ (press Ctrl-C to stop)\n")
        sys.stdout.flush()
        while all(process.poll() is None for process in processes):
            time.sleep(0.2)
        return 1
    except KeyboardInterrupt:
        return 0
    finally:
        end(processes)


def end(processes: "list[subprocess.Popen[bytes]]") -> None:
    """Send SIGTERM to all processes, and SIGKILL to those that have not ended in time."""
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(END_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def interrupt(*_: object) -> None:
    """End like Ctrl-C."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, interrupt)
    with tempfile.TemporaryDirectory(prefix="telltale-pusher-") as temporary:
        sys.exit(run(temporary, os.environ.get("PORT") or "8000"))
