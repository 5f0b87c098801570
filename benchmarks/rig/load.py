"""The load generator: followers and publisher, in the C program native/load.c. Each method is one command to it."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from benchmarks.rig import machine
from benchmarks.rig.build import built
from benchmarks.rig.contender import Contender, Workspace

CONNECT_WITHIN_S: Final = 30.0

LoadReport = dict[str, Any]
"""The program's answer to one command: see native/load.c and native/figures.h."""


class LoadGenerator:
    """Followers of one server. Each method blocks for the duration it is given, and a few seconds more at most."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    @property
    def pid(self) -> int:
        """The process id of the program."""
        return self._process.pid

    def connect(self, count: int, *, in_flight: int) -> LoadReport:
        """Connect `count` more followers, with at most `in_flight` handshakes at a time; 0: all at once."""
        return self._run(f"connect {count} {in_flight} {CONNECT_WITHIN_S}")

    def publish_closed_loop(self, seconds: float, *, in_flight: int) -> LoadReport:
        """Publish a message whenever fewer than `in_flight` messages are undelivered."""
        return self._run(f"closed {in_flight} {seconds}")

    def publish_at_rate(self, per_second: float, seconds: float) -> LoadReport:
        """Publish at a constant rate."""
        return self._run(f"rate {per_second} {seconds}")

    def publish_burst(self, count: int, seconds: float) -> LoadReport:
        """Publish `count` messages at once; wait for at most `seconds` until every follower has read the last one."""
        return self._run(f"burst {count} {seconds}")

    def idle(self, seconds: float) -> LoadReport:
        """Publish nothing, and keep reading."""
        return self._run(f"idle {seconds}")

    def _run(self, command: str) -> LoadReport:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"The load generator exited at {command!r}, with status {self._process.wait(10)}.")
        report: LoadReport = json.loads(answer)
        return report


@contextmanager
def load_generator(
    contender: Contender, workspace: Workspace, *, followers: int, topics: int
) -> Iterator[LoadGenerator]:
    """Start a load generator, without followers yet, for a contender that is running; stop it afterwards."""
    handshakes, sample = workspace.directory / "handshakes", workspace.directory / "sample"
    lines = ("\t".join(handshake) + "\n" for handshake in contender.handshakes(workspace, followers, topics))
    handshakes.write_text("".join(lines))
    sample.write_bytes(contender.sample(workspace))
    arguments = [contender.transport, workspace.port, handshakes, topics, contender.feed(workspace), sample]
    command = machine.pinned(machine.LOAD_CORE, [str(built("load")), *map(str, arguments)])
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield LoadGenerator(process)
        finally:
            _stop(process)


def _stop(process: "subprocess.Popen[str]") -> None:
    assert process.stdin
    process.stdin.close()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
