"""Values of a row's columns at certain points: when an attempt begins, when waiting is over, while a key is taken.

This module knows the columns, not the database.
"""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

from telltale.core.snapshot import SHORT_BYTES, bounded

NEW_ATTEMPT: Final[Mapping[str, Any]] = {
    "seq": 0,
    "progress": {},
    "remaining_s": None,
    "remaining_spread": None,
    "result": None,
    "return_json": None,
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
    "missing_since": None,
    "started_at": None,
    "moved_at": None,
    "beat_at": None,
    "ended_at": None,
}
"""Resets what the row says about the previous attempt."""

NOT_WAITING: Final[Mapping[str, Any]] = {"due_at": None, "ahead": None, "is_listening": None, "missing_since": None}
"""Resets what the row says only while the task waits."""


def open_key_of(name: str, key: str | None) -> str | None:
    """Return the value of `open_key` for a task's name and key; None without a key."""
    # A digest, because name and key together are longer than some databases can index.
    return None if key is None else sha256(f"{bounded(name, SHORT_BYTES)}\0{key}".encode()).hexdigest()
