"""The contract of a server under test: the command that starts it, how clients connect, how messages are published.

To add a server, subclass `Contender` in `benchmarks/contenders/` and use it in `benchmarks/experiments/plan.py`.
"""

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final, Literal, NamedTuple

from benchmarks.rig import message
from benchmarks.rig.paths import ROOT

PEERS_PYTHON: Final = str(ROOT / ".venv-bench" / "bin" / "python")
OUR_PYTHON: Final = sys.executable


class Handshake(NamedTuple):
    """How one follower connects."""

    path: str
    header: str = ""
    """One additional header line, or none."""
    first_message: str = ""
    """The client's first message, which the server answers. Empty: the client follows once its handshake succeeds."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """The directory and the ports of one server under test."""

    directory: Path
    port: int
    redis_port: int

    @property
    def control(self) -> Path:
        """The Unix socket through which messages reach servers that do not use Redis."""
        return self.directory / "control"

    @property
    def redis_url(self) -> str:
        """The address of Redis, for servers that use it."""
        return f"redis://127.0.0.1:{self.redis_port}/0"


class Contender:
    """A server under test. Everything particular to one start of it is in the `Workspace`."""

    name: ClassVar[str]
    transport: ClassVar[Literal["ws", "sse"]] = "ws"
    uses_redis: ClassVar[bool] = False
    publish: list[str] | tuple[()] = ()
    """The command that publishes one message through Redis; empty for servers that do not use Redis."""
    _sample: bytes | None = None

    def command(self, workspace: Workspace) -> list[str]:
        """The command that starts the server. It is ready once it listens on 127.0.0.1:`workspace.port`."""
        raise NotImplementedError

    def env(self, workspace: Workspace) -> dict[str, str]:
        """The environment of the server's processes and of the `publish` command."""
        return {
            **os.environ,
            "BENCH_CONTROL": str(workspace.control),
            "BENCH_DIRECTORY": str(workspace.directory),
            "BENCH_REDIS": workspace.redis_url,
        }

    def prepare(self, workspace: Workspace) -> None:
        """Create what the server needs before it starts."""

    def handshakes(self, workspace: Workspace, followers: int, topics: int) -> Iterable[Handshake]:
        """The handshakes of the followers, in their order; the load generator repeats them if there are too few."""
        return (Handshake(f"/live/{message.topic(number)}") for number in range(topics))

    def feed(self, workspace: Workspace) -> str:
        """The address to which the load generator publishes, as native/feed.h expects it."""
        return f"tcp:127.0.0.1:{workspace.redis_port}" if self.uses_redis else f"unix:{workspace.control}"

    def sample(self, workspace: Workspace) -> bytes:
        """The bytes that publish one message; the load generator repeats them with new numbers."""
        if not self.uses_redis:
            return message.control_line()
        if self._sample is None:
            self._sample = message.recorded(self.publish, self.env(workspace), workspace.redis_port)
        return self._sample
