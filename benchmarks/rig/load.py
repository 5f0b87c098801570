"""The followers and the publisher, as a handle on the program in native/load.c: one call a command."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from benchmarks.rig import machine
from benchmarks.rig.build import built
from benchmarks.rig.contender import Contender, Place

CONNECT_S: Final = 30.0

Seen = dict[str, Any]
"""What the load tells after a command: see native/load.c and native/figures.h."""


class Load:
    """Followers of one server. Every call blocks until the load has done it, for its seconds and a few more."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def connect(self, count: int, *, flight: int) -> Seen:
        """That many more followers, at most `flight` of them shaking hands at once; 0: all at once."""
        return self._told(f"connect {count} {flight} {CONNECT_S}")

    def publish_closed(self, seconds: float, *, flight: int) -> Seen:
        """Publish whenever fewer than `flight` messages are on their way."""
        return self._told(f"closed {flight} {seconds}")

    def publish_at(self, per_second: float, seconds: float) -> Seen:
        """Publish at a steady pace."""
        return self._told(f"rate {per_second} {seconds}")

    def publish_burst(self, count: int, seconds: float) -> Seen:
        """Publish all at once; wait until everyone has seen the last one, for `seconds` at most."""
        return self._told(f"burst {count} {seconds}")

    def idle(self, seconds: float) -> Seen:
        """Only listen."""
        return self._told(f"idle {seconds}")

    def _told(self, command: str) -> Seen:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"The load ended at {command!r}, with {self._process.wait(10)}.")
        seen: Seen = json.loads(answer)
        return seen


@contextmanager
def loading(contender: Contender, place: Place, *, followers: int, topics: int) -> Iterator[Load]:
    """A load for a contender that is up; nobody has connected yet."""
    asks, sample = place.directory / "asks", place.directory / "sample"
    asks.write_text("".join("\t".join(ask) + "\n" for ask in contender.asks(place, followers, topics)))
    sample.write_bytes(contender.sample(place))
    words = [contender.transport, place.port, asks, topics, contender.feed(place), sample]
    command = machine.pinned(machine.LOAD_CORE, [str(built("load")), *map(str, words)])
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Load(process)
        finally:
            _end(process)


def _end(process: "subprocess.Popen[str]") -> None:
    assert process.stdin
    process.stdin.close()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
