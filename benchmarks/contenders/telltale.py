"""Ourselves: the live server, and the transports mounted in the site's own uvicorn. Both serve `benchmarks/site/`.

The only ones with tickets to check, a snapshot to read from the database and acknowledgements to hear.
"""

import json
import secrets
import subprocess
from collections.abc import Iterable
from typing import ClassVar, Final

from benchmarks.contenders.peers import uvicorn
from benchmarks.rig.contender import OUR_PYTHON, ROOT, Ask, Contender, Place

LIVE: Final = "/telltale/live/"
TASK: Final = "6f1c2e9a-52a8-4f0c-9d59-0f3b6a1c7e10"
"""The one task that is followed, where a task is."""
SECRET: Final = secrets.token_hex()
"""Signs the tickets; the same for all processes of a run."""


_made: dict[tuple[str, ...], bytes] = {}
"""What is made once a run, for all of the classes below: the database, tickets, what was published."""
_DATABASE: Final = ("database",)


class Telltale(Contender):
    """What both have in common."""

    is_fed_by_redis: ClassVar[bool] = True
    follows: ClassVar[str] = "project"
    """A kind of topic, or one topic for all."""
    says: ClassVar[str] = "event"
    """What is published: see site/publish.py."""
    is_unpaced: ClassVar[bool] = False

    def __init__(self) -> None:
        self.publish = [OUR_PYTHON, "-m", "benchmarks.site.publish", self.says, TASK]

    def env(self, place: Place) -> dict[str, str]:
        """The site's settings, and what they read."""
        site = {"DJANGO_SETTINGS_MODULE": "benchmarks.site.settings", "BENCH_SECRET": SECRET}
        return {**super().env(place), **site, **({"BENCH_UNPACED": "1"} if self.is_unpaced else {})}

    def prepare(self, place: Place) -> None:
        """A database with nothing in it but its tables."""
        file = place.directory / "site.sqlite3"
        if _DATABASE not in _made:
            self._run(place, "django", "migrate", "--verbosity", "0")
            _made[_DATABASE] = file.read_bytes()
        file.write_bytes(_made[_DATABASE])

    def asks(self, place: Place, followers: int, topics: int) -> Iterable[Ask]:
        """Each with a ticket of their own: as the first message, or in the header."""
        wanted = (str(followers), str(topics), self.follows)
        if wanted not in _made:
            _made[wanted] = self._run(place, "benchmarks.site.tickets", *wanted).encode()
        return (self._ask(ticket) for ticket in _made[wanted].decode().split())

    def sample(self, place: Place) -> bytes:
        """The same for all that publish the same."""
        if (self.says,) not in _made:
            _made[self.says,] = super().sample(place)
        return _made[self.says,]

    def _ask(self, ticket: str) -> Ask:
        if self.transport == "ws":
            return Ask(LIVE, message=json.dumps({"type": "hello", "v": 1, "ticket": ticket}))
        return Ask(LIVE, header=f"Authorization: Bearer {ticket}", message="-")

    def _run(self, place: Place, *words: str) -> str:
        command, env = [OUR_PYTHON, "-m", *words], self.env(place)
        return subprocess.run(command, cwd=ROOT, env=env, check=True, stdout=subprocess.PIPE, text=True).stdout


class LiveWebSocket(Telltale):
    """The live server as it comes."""

    name = "Telltale live, WebSocket"

    def command(self, place: Place) -> list[str]:
        """One process."""
        return [OUR_PYTHON, "-m", "telltale.server", "--port", str(place.port)]


class LiveEventStream(LiveWebSocket):
    """The same, as server-sent events."""

    name = "Telltale live, SSE"
    transport = "sse"


class UnpacedWebSocket(LiveWebSocket):
    """The live server without its pace: a frame for each message, as everybody else here has it."""

    name = "Telltale live unpaced, WebSocket"
    is_unpaced = True


class UnpacedEventStream(LiveEventStream):
    """The same, as server-sent events."""

    name = "Telltale live unpaced, SSE"
    is_unpaced = True


class LiveTask(LiveWebSocket):
    """The live server, with a task that is followed in place of messages."""

    name = "Telltale live, one task"
    follows = f"task:{TASK}"
    says = "task"


class MountedWebSocket(Telltale):
    """In the site's own uvicorn, with the options that its page recommends."""

    name = "Telltale in uvicorn, WebSocket"

    def command(self, place: Place) -> list[str]:
        """One worker."""
        return uvicorn(OUR_PYTHON, "benchmarks.site.asgi:app", place.port, "--ws-per-message-deflate", "false")


class MountedEventStream(MountedWebSocket):
    """The same, as server-sent events."""

    name = "Telltale in uvicorn, SSE"
    transport = "sse"


class UnpacedMountedWebSocket(MountedWebSocket):
    """The same without its pace."""

    name = "Telltale in uvicorn unpaced, WebSocket"
    is_unpaced = True


class UnpacedMountedEventStream(MountedEventStream):
    """The same without its pace."""

    name = "Telltale in uvicorn unpaced, SSE"
    is_unpaced = True
