"""The constants that the simulation shares with the code that it simulates.

The live server's are imported. The client's are read from its JavaScript modules, in lines `const NAME = …`. Only
the kernel's are written here.
"""

import os
import re
from pathlib import Path
from typing import Final

import django
from django.apps import apps

if not apps.ready:
    # Some constants are in modules with models, which need a configured site. Nothing is stored or sent.
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.contenders.telltale_site.settings")
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
from telltale.server import configuration, processes, websocket_protocol

SLICE: Final = hub.SLICE
PACE_S: Final = websocket_protocol.POLICY.pace_s
REST_S: Final = loop_listener.READ_PAUSE_S
GREETINGS_AT_ONCE: Final = refresher.CLIENTS_PER_TURN
BATCH: Final = reader.BATCH
DRAIN_EVERY_S: Final = driver.DRAIN_EVERY_S
RETURN_PER_S: Final = driver.RETURN_PER_S
BACKLOG: Final = configuration.BACKLOG
RESTART_S: Final = processes.RESTART_S
CONNECTIONS: Final = Settings().connections
REREAD_S: Final = RECHECK_S[Reach.SITE]

TOPICS_OF_A_TASK: Final = len(TaskState(owner_id=1).topics)
"""Each is a separate message at Redis; a process receives those whose topic it follows."""

SYN_RETRY_S: Final = 1.0
"""Linux: a SYN that meets a full queue is sent again after this time, then after twice as long, and so on."""
PORTS: Final = 60_999 - 32_768 + 1
"""Linux: connections that a proxy can have from one of its addresses to one upstream address and port."""
SOCKET_BYTES: Final = 4_608
"""Linux: kernel memory of a quiet TCP socket; no process is charged for it."""

_MODULES: Final = Path(telltale.__file__).parent / "static" / "telltale"


def _client_constant(module: str, name: str) -> float:
    """A numeric constant of a JavaScript module."""
    text = (_MODULES / module).read_text()
    found = re.search(rf"^const {name} = ([\d_.]+)$", text, re.M)
    if found is None:
        raise LookupError(f"{module} has no line “const {name} = …”: give {__file__} its present name.")
    return float(found[1])


FIRST_S: Final = _client_constant("live/backoff.js", "FIRST_MS") / 1_000
LONGEST_S: Final = _client_constant("live/backoff.js", "LONGEST_MS") / 1_000
LONGEST_SPREAD_S: Final = _client_constant("live/backoff.js", "LONGEST_SPREAD_MS") / 1_000
GREETING_TIMEOUT_S: Final = _client_constant("live/connector.js", "ESTABLISH_MS") / 1_000
ATTEMPTS_BEFORE_FALLBACK: Final = int(_client_constant("live/fallback.js", "ATTEMPTS_ONCE_ESTABLISHED"))


def backoff_s(attempt: int, chance: float) -> float:
    """The wait before an attempt, as `backoff` in backoff.js; `chance` is in [0, 1)."""
    return min(LONGEST_S, FIRST_S * 2.0**attempt) * chance


def spread_s(within_s: float, chance: float) -> float:
    """The wait after a drain's hint, as `spread` in backoff.js; `chance` is in [0, 1)."""
    return min(LONGEST_SPREAD_S, within_s) * chance


def within_s(clients: int) -> float:
    """The hint of a draining process: how many seconds its clients should take to reconnect, as `Driver._drain`."""
    return round(max(1.0, clients / RETURN_PER_S), 1)
