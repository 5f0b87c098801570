"""Telltale: the live server, and the transports mounted in the site's own uvicorn. Both serve `telltale_site/`.

Only these contenders verify tickets, read a snapshot from the database and process acknowledgements; the one with
Pusher's protocol does none of this.
"""

import json
import secrets
import subprocess
from collections.abc import Iterable
from typing import ClassVar, Final

from benchmarks.contenders.peers import uvicorn
from benchmarks.rig import message
from benchmarks.rig.contender import OUR_PYTHON, Contender, Handshake, Workspace
from benchmarks.rig.paths import ROOT

SITE: Final = "benchmarks.contenders.telltale_site"
LIVE_PATH: Final = "/telltale/live/"
TASK: Final = "6f1c2e9a-52a8-4f0c-9d59-0f3b6a1c7e10"
"""The id of the task, where followers follow one task."""
SECRET: Final = secrets.token_hex()
"""Signs the tickets; the same for all processes of a run."""

_cache: dict[tuple[str, ...], bytes] = {}
"""Made once a run and shared by all classes below: the migrated database, tickets, recorded messages."""
_DATABASE: Final = ("database",)


class Telltale(Contender):
    """Common to the live server and the mounted transports."""

    uses_redis: ClassVar[bool] = True
    follows: ClassVar[str] = "project"
    """The kind of topic that followers follow, or one topic for all of them."""
    publishes: ClassVar[str] = "event"
    """The kind of message: `event`, `task` or `pusher`, see telltale_site/publish.py."""
    is_unpaced: ClassVar[bool] = False

    def __init__(self) -> None:
        self.publish = [OUR_PYTHON, "-m", f"{SITE}.publish", self.publishes, TASK]

    def env(self, workspace: Workspace) -> dict[str, str]:
        """The site's settings module, and the variables that it reads."""
        site = {"DJANGO_SETTINGS_MODULE": f"{SITE}.settings", "BENCH_SECRET": SECRET}
        return {**super().env(workspace), **site, **({"BENCH_UNPACED": "1"} if self.is_unpaced else {})}

    def prepare(self, workspace: Workspace) -> None:
        """Create a database with empty tables."""
        file = workspace.directory / "site.sqlite3"
        if _DATABASE not in _cache:
            self._run(workspace, "django", "migrate", "--verbosity", "0")
            _cache[_DATABASE] = file.read_bytes()
        file.write_bytes(_cache[_DATABASE])

    def handshakes(self, workspace: Workspace, followers: int, topics: int) -> Iterable[Handshake]:
        """Each follower has its own ticket, in its first message (WebSocket) or in a header (SSE)."""
        arguments = (str(followers), str(topics), self.follows)
        if arguments not in _cache:
            _cache[arguments] = self._run(workspace, f"{SITE}.tickets", *arguments).encode()
        return (self._handshake(ticket) for ticket in _cache[arguments].decode().split())

    def sample(self, workspace: Workspace) -> bytes:
        """Recorded once for each kind of message."""
        if (self.publishes,) not in _cache:
            _cache[self.publishes,] = super().sample(workspace)
        return _cache[self.publishes,]

    def _handshake(self, ticket: str) -> Handshake:
        if self.transport == "ws":
            return Handshake(LIVE_PATH, first_message=json.dumps({"type": "hello", "v": 1, "ticket": ticket}))
        # The first message is not sent; its presence makes the follower wait for the server's first event.
        return Handshake(LIVE_PATH, header=f"Authorization: Bearer {ticket}", first_message="-")

    def _run(self, workspace: Workspace, *arguments: str) -> str:
        command, env = [OUR_PYTHON, "-m", *arguments], self.env(workspace)
        return subprocess.run(command, cwd=ROOT, env=env, check=True, stdout=subprocess.PIPE, text=True).stdout


class LiveWebSocket(Telltale):
    """The live server with its default settings."""

    name = "Telltale live, WebSocket"

    def command(self, workspace: Workspace) -> list[str]:
        """One process."""
        return [OUR_PYTHON, "-m", "telltale.server", "--port", str(workspace.port)]


class LiveEventStream(LiveWebSocket):
    """The same over server-sent events."""

    name = "Telltale live, SSE"
    transport = "sse"


class UnpacedWebSocket(LiveWebSocket):
    """The live server without pacing: one frame for each message, as all peers do."""

    name = "Telltale live unpaced, WebSocket"
    is_unpaced = True


class UnpacedEventStream(LiveEventStream):
    """The same over server-sent events."""

    name = "Telltale live unpaced, SSE"
    is_unpaced = True


class LiveTask(LiveWebSocket):
    """The live server; followers follow a task instead of a site's own topic."""

    name = "Telltale live, one task"
    follows = f"task:{TASK}"
    publishes = "task"


class PusherWebSocket(LiveWebSocket):
    """The live server; followers are clients of Pusher Channels. Messages come from another process of the site."""

    name = "Telltale, Pusher protocol"
    publishes = "pusher"

    def env(self, workspace: Workspace) -> dict[str, str]:
        """With an app for the clients."""
        return {**super().env(workspace), "BENCH_PUSHER": "1"}

    def handshakes(self, workspace: Workspace, followers: int, topics: int) -> Iterable[Handshake]:
        """All follow one public channel, which needs no signature."""
        subscription = {"event": "pusher:subscribe", "data": {"channel": message.TOPIC}}
        return [Handshake("/app/bench?protocol=7", first_message=json.dumps(subscription))]


class MountedWebSocket(Telltale):
    """The transports in the site's own uvicorn, with the options that docs/live-server.md recommends."""

    name = "Telltale in uvicorn, WebSocket"

    def command(self, workspace: Workspace) -> list[str]:
        """One worker."""
        return uvicorn(OUR_PYTHON, f"{SITE}.asgi:app", workspace.port, "--ws-per-message-deflate", "false")


class MountedEventStream(MountedWebSocket):
    """The same over server-sent events."""

    name = "Telltale in uvicorn, SSE"
    transport = "sse"


class UnpacedMountedWebSocket(MountedWebSocket):
    """The mounted transports without pacing."""

    name = "Telltale in uvicorn unpaced, WebSocket"
    is_unpaced = True


class UnpacedMountedEventStream(MountedEventStream):
    """The same over server-sent events."""

    name = "Telltale in uvicorn unpaced, SSE"
    is_unpaced = True
