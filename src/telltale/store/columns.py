"""What a row's columns hold at the turns of its life: an attempt begins afresh, a wait is over, a key is taken.

Plain values: knows the columns, not the database. Used by each module that makes, begins or ends an attempt.
"""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

from telltale.core.snapshot import SHORT_BYTES, bounded

# What a new attempt forgets of the one before.
AFRESH: Final[Mapping[str, Any]] = {
    "seq": 0,
    "progress": {},
    "remaining_s": None,
    "result": None,
    "error": None,
    "detail": "",
    "reference": None,
    "worker": "",
    "lease_until": None,
    "cancel_requested": False,
    "no_cancel": None,
    "due_at": None,
    "ahead": None,
    "is_listening": None,
    "started_at": None,
    "moved_at": None,
    "beat_at": None,
    "ended_at": None,
}

# What is known of a task only while it waits.
BEGUN: Final[Mapping[str, Any]] = {"due_at": None, "ahead": None, "is_listening": None}


def open_key_of(name: str, key: str | None) -> str | None:
    # A digest, for names and keys together are longer than some databases index.
    return None if key is None else sha256(f"{bounded(name, SHORT_BYTES)}\0{key}".encode()).hexdigest()
