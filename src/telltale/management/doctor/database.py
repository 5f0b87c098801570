"""The database: whether it answers, has the tables, agrees on the time, and lets pages and workers use it together."""

import time
from collections.abc import Iterator
from typing import Final

from django.db import DatabaseError, connections
from django.db.migrations.executor import MigrationExecutor

from telltale import conf, store
from telltale.management.doctor.finding import Finding

SKEW_S: Final = 2.0
"""How far the clocks of two machines may differ; NTP keeps them within some milliseconds."""

BUSY_TIMEOUT_MS: Final = 5_000
"""How long a connection to SQLite should wait for a lock at least."""


def examine_database() -> Iterator[Finding]:
    """Examine the database that holds Telltale's tables."""
    alias = conf.settings().database
    try:
        connections[alias].ensure_connection()
    except DatabaseError as error:
        yield Finding(
            id="database-unreachable",
            found=f"The database {alias!r} can't be reached: {error}".strip(),
            why="Tasks can't be queued, and pages can't be shown.",
            setting=f'Start it, or correct DATABASES["{alias}"].',
        )
        return
    yield from _migrations(alias)
    if connections[alias].vendor == "sqlite":
        yield from _sqlite(alias)
    else:
        yield from _clock(alias)


def can_read(alias: str) -> bool:
    """Whether the tasks can be read: the database answers, and has the tables."""
    try:
        store.task_rows().first()
    except DatabaseError:
        return False
    return connections[alias].connection is not None


def _migrations(alias: str) -> Iterator[Finding]:
    executor = MigrationExecutor(connections[alias])
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    pending = [str(migration) for migration, _is_backwards in plan if migration.app_label.startswith("telltale")]
    if pending:
        yield Finding(
            id="migrations-pending",
            found=f"Migrations were not applied: {', '.join(pending)}.",
            why="The tables are not those that this version reads and writes.",
            setting=f"Run manage.py migrate --database {alias}.",
        )


def _clock(alias: str) -> Iterator[Finding]:
    try:
        before = time.time()
        database_time = store.now()
        skew_s = database_time - (before + time.time()) / 2
    except DatabaseError:
        return
    if abs(skew_s) > SKEW_S:
        yield Finding(
            id="clock-skew",
            found=f"The clock of the database {alias!r} is {abs(skew_s):,.1f} s "
            f"{'ahead of' if skew_s > 0 else 'behind'} this machine's.",
            why="Telltale counts by the database's clock, so bars and leases are right. But what others write by this "
            "machine's clock is not: the times at which tasks are due, sessions, logs.",
            setting="Let both machines set their clocks by NTP (systemd-timesyncd, chrony).",
        )


def _sqlite(alias: str) -> Iterator[Finding]:
    options = f'DATABASES["{alias}"]["OPTIONS"]'
    with connections[alias].cursor() as cursor:
        mode = str(cursor.execute("PRAGMA journal_mode").fetchone()[0])
        timeout_ms = int(cursor.execute("PRAGMA busy_timeout").fetchone()[0])
    if mode not in {"wal", "memory"}:
        yield Finding(
            id="sqlite-no-wal",
            found=f"The journal of the SQLite database {alias!r} has the mode {mode!r}, not 'wal'.",
            why="A long transaction of a task blocks all reads, so pages get errors.",
            setting=f'{options}["init_command"] = "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;". Put the file '
            "on a local disk: network file systems have no write-ahead log.",
        )
    if timeout_ms < BUSY_TIMEOUT_MS:
        yield Finding(
            id="sqlite-short-timeout",
            found=f"Connections to the SQLite database {alias!r} wait only {timeout_ms / 1_000:g} s for a lock.",
            why="Under load, writes fail: tasks can't be queued, and progress is saved late.",
            setting=f'{options}["timeout"] = 20.',
        )
