"""The examples as a reader starts them: `python run.py`."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Self

from tests.demo.site import wait_until_up
from tests.servers import ROOT, await_text, free_port

CHANNELS = ROOT / "examples" / "channels"
PUSHER = ROOT / "examples" / "pusher"
PUSHER_JS = ROOT / "tests" / "pusher" / "drivers" / "node_modules" / "pusher-js"


class ExampleSite:
    """All processes of an example, with their temporary files in a directory."""

    def __init__(self, directory: Path, source: Path = CHANNELS) -> None:
        """`source`: an example, or a copy of one."""
        self.directory = directory / "tmp"
        self.directory.mkdir()
        self.log = directory / "run.log"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._source = source

    def __enter__(self) -> Self:
        self.start()
        return self

    def start(self) -> None:
        """Start it, and wait until its page answers."""
        environment = os.environ | {"PORT": str(self.port), "TMPDIR": str(self.directory), "PUSHER_JS": str(PUSHER_JS)}
        environment.pop("REDIS_URL", None)  # So that it starts a Redis of its own.
        environment["PYTHONPATH"] = str(ROOT / "src")
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "ignore", "run.py"],
                cwd=self._source,
                env=environment,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        try:
            await_text(self.log, "The example is running at", self.process)
            wait_until_up(self.url)
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> int:
        """Stop it as Ctrl-C does; return the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.process.wait(20)

    def processes(self) -> list[int]:
        """Return the pids of the processes that it started."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in children.read_text().split()]
