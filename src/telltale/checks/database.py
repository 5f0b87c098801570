"""System checks of the database that holds Telltale's tables: which alias it is, and what SQLite needs."""

import sqlite3
from collections.abc import Iterator, Mapping
from typing import Any, Final

from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.core.checks import CheckMessage, Error, register
from django.db import router

from telltale.conf import Settings
from telltale.models import TaskState

SQLITE: Final = (3, 33)
"""The first version that supports UPDATE … FROM."""

SQLITE_TIMEOUT_S: Final = 5.0
"""The shortest time for which a connection to SQLite should wait for a lock; it is sqlite3's default."""

PAGE: Final = "docs/sqlite.md says why."


@register("telltale")
def check_database(**_: Any) -> list[CheckMessage]:
    """Check that Telltale's tables are in the database whose transactions the site uses: that of the users."""
    alias = _alias()
    if alias is None:
        return []
    users = router.db_for_write(get_user_model())
    if alias != users:
        return [
            Error(
                f"TELLTALE['DATABASE'] is {alias!r}, but users are written to {users!r}: a task would start although "
                "the transaction that enqueued it was rolled back, and rows can't refer to users of another database.",
                hint=f"Set TELLTALE['DATABASE'] to {users!r}, and let the routers write Telltale's tables there.",
                id="telltale.E016",
            )
        ]
    if not router.allow_migrate_model(alias, TaskState):
        return [
            Error(
                f"The database routers allow no tables of Telltale in {alias!r}, which TELLTALE['DATABASE'] names.",
                hint=f"Let allow_migrate({alias!r}, 'telltale') of DATABASE_ROUTERS return True or None, and migrate.",
                id="telltale.E017",
            )
        ]
    return []


@register("telltale")
def check_sqlite(**_: Any) -> list[CheckMessage]:
    """Check that SQLite, if it is used, lets workers and pages use the database at the same time."""
    alias = _alias()
    database = django_settings.DATABASES.get(alias, {}) if alias else {}
    if not str(database.get("ENGINE", "")).endswith("sqlite3"):
        return []
    return [*_version(str(alias)), *_options(str(alias), database)]


def _version(alias: str) -> Iterator[CheckMessage]:
    if sqlite3.sqlite_version_info < SQLITE:
        required, version = ".".join(map(str, SQLITE)), sqlite3.sqlite_version
        yield Error(
            f"SQLite ({alias!r}) has version {version}; Telltale needs {required} or newer.",
            hint="Use a Python built with a newer SQLite, or another database.",
            id="telltale.E008",
        )


def _options(alias: str, database: Mapping[str, Any]) -> Iterator[CheckMessage]:
    options, setting = database.get("OPTIONS", {}), f'DATABASES["{alias}"]["OPTIONS"]'
    if str(options.get("transaction_mode", "")).upper() not in {"IMMEDIATE", "EXCLUSIVE"}:
        yield Error(
            f"SQLite transactions ({alias!r}) take the write lock late: of two that read and then write, one fails.",
            hint=f'Set {setting}["transaction_mode"] = "IMMEDIATE". {PAGE}',
            id="telltale.E018",
        )
    if "wal" not in str(options.get("init_command", "")).lower() and not _is_in_memory(database):
        yield Error(
            f"SQLite ({alias!r}) has no write-ahead log: a long transaction blocks all reads, so pages get errors.",
            hint=f'Set {setting}["init_command"] = "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;". {PAGE}',
            id="telltale.E019",
        )
    timeout_s = options.get("timeout", SQLITE_TIMEOUT_S)
    if isinstance(timeout_s, int | float) and timeout_s < SQLITE_TIMEOUT_S:
        yield Error(
            f"SQLite ({alias!r}) waits only {timeout_s:g} s for a lock: under load, writes fail.",
            hint=f'Set {setting}["timeout"] = 20. {PAGE}',
            id="telltale.E020",
        )
    if database.get("ATOMIC_REQUESTS"):
        yield Error(
            f"ATOMIC_REQUESTS ({alias!r}) holds SQLite's only write lock during every view, also those that only read.",
            hint=f"Remove ATOMIC_REQUESTS, and use transaction.atomic() where a view needs a transaction. {PAGE}",
            id="telltale.E021",
        )


def _is_in_memory(database: Mapping[str, Any]) -> bool:
    name = str(database.get("NAME", ""))
    return name == ":memory:" or "mode=memory" in name


def _alias() -> str | None:
    """The alias of the settings; None if it is none of DATABASES, which `check_settings` reports."""
    given = getattr(django_settings, "TELLTALE", {})
    alias = given.get("DATABASE", Settings().database) if isinstance(given, dict) else Settings().database
    return alias if isinstance(alias, str) and alias in django_settings.DATABASES else None
