"""Values of a row's columns at certain points: when an attempt begins, when waiting is over, while a key is taken.

This module knows the columns, not the database.
"""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

from telltale.core.snapshot import SHORT_BYTES, bounded
from telltale.owners import Owner

NEW_ATTEMPT: Final[Mapping[str, Any]] = {
    "seq": 0,
    "progress": {},
    "stage_times": None,
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


SHARED: Final = "*"
"""Stands in a digest for the owner of a shared task. No topic of an owner looks like this."""


def open_key_of(name: str, key: str | None, owner: Owner, *, is_shared: bool) -> str | None:
    """Return the value of `open_key` for a task's name, key and owner; None without a key."""
    return None if key is None else _digest(name, key, SHARED if is_shared else owner.topic or "")


def joinable_open_keys(name: str, key: str | None, owner: Owner, *, is_shared: bool) -> list[str]:
    """Return the open keys of the tasks that a call of this owner joins: one for each of the owner's names."""
    if key is None:
        return []
    scopes = [SHARED] if is_shared else list(owner.topics) or [""]
    return [_digest(name, key, scope) for scope in scopes]


def _digest(name: str, key: str, scope: str) -> str:
    # A digest, because name and key together are longer than some databases can index.
    return sha256(f"{bounded(name, SHORT_BYTES)}\0{key}\0{scope}".encode()).hexdigest()
