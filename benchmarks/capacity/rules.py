"""The constants that the simulation shares with what it simulates: the live server's and its client's own.

The client's are read from its modules' text, each a line `const NAME = …`. Only the kernel's are given here.
"""

import os
import re
import tempfile
from pathlib import Path
from typing import Final

import django
from django.apps import apps

if not apps.ready:
    # Some constants stand beside models: any site with Telltale in it will do.
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.site.settings")
    os.environ.setdefault("BENCH_DIRECTORY", tempfile.gettempdir())
    os.environ.setdefault("BENCH_REDIS", "redis://127.0.0.1:6379/0")
    django.setup()

import telltale
from telltale.brokers import RECHECK_S
from telltale.brokers.base import Reach
from telltale.brokers.redis import loop_listener
from telltale.conf import Settings
from telltale.core import hub
from telltale.live import driver, reader, refresher
from telltale.models import TaskState
from telltale.server import processes, serve, websocket_protocol

SLICE: Final = hub.SLICE
PACE_S: Final = websocket_protocol.POLICY.pace_s
REST_S: Final = loop_listener.REST_S
SEATS: Final = refresher.SEATS
BATCH: Final = reader.BATCH
DRAIN_EVERY_S: Final = driver.DRAIN_EVERY_S
RETURN_PER_S: Final = driver.RETURN_PER_S
BACKLOG: Final = serve.BACKLOG
RESTART_S: Final = processes.RESTART_S
CONNECTIONS: Final = Settings().connections
REREAD_S: Final = RECHECK_S[Reach.SITE]

TOPICS_OF_A_TASK: Final = len(TaskState(owner_id=1).topics)
"""Each is a message of its own at Redis; a process that follows one of them hears that one."""

SYN_RETRY_S: Final = 1.0
"""Linux: a SYN that found the queue full is sent again after this, then after twice as long, and so on."""
PORTS: Final = 60_999 - 32_768 + 1
"""Linux: a proxy's connections from one of its addresses to one upstream address and port."""
SOCKET_BYTES: Final = 4_608
"""Linux: kernel memory of a quiet TCP socket, which no process is charged for."""

_MODULES: Final = Path(telltale.__file__).parent / "static" / "telltale"


def _of_client(module: str, name: str) -> float:
    """A constant of the browser's."""
    text = (_MODULES / module).read_text()
    found = re.search(rf"^const {name} = ([\d_.]+)$", text, re.M)
    if found is None:
        raise LookupError(f"{module} has no line “const {name} = …”: name it in {__file__} as it is called now.")
    return float(found[1])


FIRST_S: Final = _of_client("live/backoff.js", "FIRST_MS") / 1_000
LONGEST_S: Final = _of_client("live/backoff.js", "LONGEST_MS") / 1_000
LONGEST_SPREAD_S: Final = _of_client("live/backoff.js", "LONGEST_SPREAD_MS") / 1_000
PROOF_S: Final = _of_client("live/live.js", "PROOF_MS") / 1_000
PATIENCE: Final = int(_of_client("live/fallback.js", "PATIENCE_ONCE_PROVEN"))


def backoff_s(tries: int, chance: float) -> float:
    """As `backoff` in backoff.js."""
    return min(LONGEST_S, FIRST_S * 2.0**tries) * chance


def spread_s(within_s: float, chance: float) -> float:
    """As `spread` in backoff.js."""
    return min(LONGEST_SPREAD_S, within_s) * chance


def within_s(clients: int) -> float:
    """Over how long a draining process asks so many to come back, as `Driver._drain`."""
    return round(max(1.0, clients / RETURN_PER_S), 1)
