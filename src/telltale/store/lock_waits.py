"""Bounds how long a worker waits for a lock that another transaction holds, on PostgreSQL and MySQL.

A call in an open transaction, such as `task.delay()` in a view, sends its message before its row is committed. The
worker that receives the message writes the same row, and would wait until that transaction ends: the database must
know first whether the key is taken. PostgreSQL waits without limit, MySQL for 50 s. SQLite's waits are bounded by the
`timeout` of its connection.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, Final

from django.db import Error, OperationalError, connections

from telltale.store.rows import database, in_transaction
from telltale.store.statements import Columns, Conditions, update_row, update_unlocked_row

LOCK_WAIT_S: Final = 0.25
"""How long to wait on PostgreSQL: far longer than a transaction of Telltale's own takes."""

MYSQL_LOCK_WAIT_S: Final = 1
"""How long to wait on MySQL, which knows whole seconds only."""

_LOCK_NOT_AVAILABLE: Final = "55P03"
_LOCK_WAIT_TIMEOUT: Final = 1205
"""The errors of PostgreSQL and MySQL that say that a wait for a lock was too long."""


class RowLocked(OperationalError):
    """Another transaction holds a lock, and held it for longer than `limited_lock_waits` waits. Nothing was written."""


@contextmanager
def limited_lock_waits() -> Iterator[None]:
    """Within the block, statements raise `RowLocked` instead of waiting longer; the block is one transaction.

    On SQLite it does nothing. The limit of an outer transaction returns after the block.
    """
    connection = connections[database()]
    limit = _LIMITS.get(connection.vendor)
    if limit is None:
        yield
        return
    with _raising_row_locked(), limit(connection):
        yield


@contextmanager
def _raising_row_locked() -> Iterator[None]:
    try:
        yield
    except OperationalError as error:
        if not _is_lock_timeout(error):
            raise
        raise RowLocked(f"Another transaction holds the lock: {error}") from error


def in_impatient_transaction() -> AbstractContextManager[Any]:
    """A transaction in which waits for locks are limited, where `limited_lock_waits` can limit them."""
    return limited_lock_waits() if connections[database()].vendor in _LIMITS else in_transaction()


def update_row_without_waiting(where: Conditions, columns: Columns) -> bool:
    """As `update_row`, but raises `RowLocked` if another transaction keeps the row locked. `where` names the id.

    It takes one statement unless the row is locked: every run of a task begins with it. On SQLite it waits.
    """
    connection: Any = connections[database()]
    if connection.vendor not in _LIMITS:
        return update_row(where, columns)
    is_mariadb = connection.vendor == "mysql" and connection.mysql_is_mariadb
    # A unique key can make it wait for another row than this one.
    is_one_row = not connection.in_atomic_block and "open_key" not in columns
    if is_one_row and (is_mariadb or connection.vendor == "postgresql"):
        with _raising_row_locked():
            if update_unlocked_row(where, columns):
                return True
        if is_mariadb:
            return False
    # PostgreSQL's row was locked, or has changed. In a transaction of the caller, a lock timeout needs a savepoint.
    with limited_lock_waits():
        return update_row(where, columns)


@contextmanager
def _postgres_limit(connection: Any) -> Iterator[None]:
    # Not for the session: a pooler would give it to other clients with the connection.
    is_nested = connection.in_atomic_block
    with in_transaction(), connection.cursor() as cursor:
        outer_limit = _value(cursor, "SHOW lock_timeout") if is_nested else None
        cursor.execute(f"SET LOCAL lock_timeout = {round(LOCK_WAIT_S * 1_000)}")
        yield
        if outer_limit is not None:  # After an error, the rollback to the savepoint restores it.
            cursor.execute("SELECT set_config('lock_timeout', %s, true)", [outer_limit])


@contextmanager
def _mysql_limit(connection: Any) -> Iterator[None]:
    # A variable of the session, which no transaction restores.
    with connection.cursor() as cursor:
        outer_limit = int(_value(cursor, "SELECT @@SESSION.innodb_lock_wait_timeout"))
        cursor.execute(f"SET SESSION innodb_lock_wait_timeout = {MYSQL_LOCK_WAIT_S}")
    try:
        with in_transaction():
            yield
    finally:
        with suppress(Error), connection.cursor() as cursor:  # A lost connection has no session to restore.
            cursor.execute(f"SET SESSION innodb_lock_wait_timeout = {outer_limit}")


_LIMITS: Final[Mapping[str, Callable[[Any], AbstractContextManager[None]]]] = {
    "postgresql": _postgres_limit,
    "mysql": _mysql_limit,
}


def _value(cursor: Any, statement: str) -> Any:
    cursor.execute(statement)
    return cursor.fetchone()[0]


def _is_lock_timeout(error: OperationalError) -> bool:
    driver_error: Any = error.__cause__
    # psycopg 3 has `sqlstate`, psycopg 2 `pgcode`; the drivers of MySQL give the number first.
    state = getattr(driver_error, "sqlstate", None) or getattr(driver_error, "pgcode", None)
    return state == _LOCK_NOT_AVAILABLE or error.args[:1] == (_LOCK_WAIT_TIMEOUT,)
