"""The statements that every run of a task needs, written by hand: each finds, inserts or updates one row.

The ORM takes some 0.3 ms to build such a statement, several times as long as the database takes to run it. Here its
text is built once, and an updated row is returned by the same statement where the database can do that.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from django.db import connections, transaction

from telltale.models import StoredNotice, TaskState
from telltale.store.rows import database

Conditions = Mapping[str, Any]
"""What a row must meet, by column: a value, None for null, or a tuple of possible values. `name__lt`: less than."""

Columns = Mapping[str, Any]
"""What to write, by column: a value, or `NextSeq`."""


@dataclass(frozen=True, slots=True)
class NextSeq:
    """The row's `seq` plus one, or `at_least` if that is greater."""

    at_least: int = 0


def insert_row(row: TaskState | StoredNotice) -> None:
    """Insert a new row. Raises `IntegrityError` as the ORM does."""
    connection = connections[database()]
    fields: Any = row._meta.concrete_fields
    key = (connection.alias, type(row))
    sql = _inserts.get(key)
    if sql is None:
        quote = connection.ops.quote_name
        columns, values = ", ".join(quote(field.column) for field in fields), ", ".join(["%s"] * len(fields))
        sql = _inserts[key] = f"INSERT INTO {quote(row._meta.db_table)} ({columns}) VALUES ({values})"  # noqa: S608 (names of our own)
    with transaction.mark_for_rollback_on_error(connection.alias), connection.cursor() as cursor:
        cursor.execute(sql, [field.get_db_prep_save(getattr(row, field.attname), connection) for field in fields])
    row._state.adding, row._state.db = False, connection.alias


def find_row(where: Conditions) -> TaskState | None:
    """Return the row that meets the conditions, which name one row at most; None if there is none."""
    connection = connections[database()]
    sql = _text(connection, "select", (), _shape(where))
    with connection.cursor() as cursor:
        cursor.execute(sql, _parameters({}, where, connection))
        return _row(cursor.fetchall(), connection)


def update_row(where: Conditions, columns: Columns) -> bool:
    """Write the columns of the row that meets the conditions; return whether there is one."""
    connection = connections[database()]
    sql = _text(connection, "update", _shape(columns), _shape(where))
    with transaction.mark_for_rollback_on_error(connection.alias), connection.cursor() as cursor:
        cursor.execute(sql, _parameters(columns, where, connection))
        return bool(cursor.rowcount)


def update_unlocked_row(where: Conditions, columns: Columns) -> bool:
    """As `update_row`, on PostgreSQL and MariaDB, without waiting for another transaction. `where` names the id.

    PostgreSQL passes over a locked row: False. MariaDB raises its error of a lock timeout after a second.
    """
    connection = connections[database()]
    sql = _text(connection, "update unlocked", _shape(columns), _shape(where))
    with transaction.mark_for_rollback_on_error(connection.alias), connection.cursor() as cursor:
        locked = _parameters({}, {"id": where["id"]}, connection) if connection.vendor == "postgresql" else []
        cursor.execute(sql, [*_parameters(columns, where, connection), *locked])
        return bool(cursor.rowcount)


def update_and_read_row(where: Conditions, columns: Columns) -> TaskState | None:
    """As `update_row`, and return the row as it is then; None if no row meets the conditions. `where` names the id."""
    connection = connections[database()]
    if not _can_return(connection):
        return find_row({"id": where["id"]}) if update_row(where, columns) else None
    sql = _text(connection, "update returning", _shape(columns), _shape(where))
    with transaction.mark_for_rollback_on_error(connection.alias), connection.cursor() as cursor:
        cursor.execute(sql, _parameters(columns, where, connection))
        return _row(cursor.fetchall(), connection)


# The text of a statement depends on the form of its values only, such as null or the number of possible values.
_Shape = tuple[tuple[str, str | int], ...]
_NULL, _VALUE, _NEXT_SEQ = "null", "value", "next seq"
_inserts: dict[tuple[str, type], str] = {}
_texts: dict[tuple[str, str, _Shape, _Shape], str] = {}


def _shape(values: Mapping[str, Any]) -> _Shape:
    return tuple((name, _form(value)) for name, value in values.items())


def _form(value: object) -> str | int:
    if value is None:
        return _NULL
    if isinstance(value, tuple):
        return len(value)
    return _NEXT_SEQ if isinstance(value, NextSeq) else _VALUE


def _text(connection: Any, kind: str, columns: _Shape, where: _Shape) -> str:
    key = (connection.alias, kind, columns, where)
    text = _texts.get(key)
    if text is None:
        text = _texts[key] = _build(connection, kind, columns, where)
    return text


def _build(connection: Any, kind: str, columns: _Shape, where: _Shape) -> str:
    quote = connection.ops.quote_name
    table = quote(TaskState._meta.db_table)
    all_columns = ", ".join(f"{table}.{quote(field.column)}" for field in TaskState._meta.concrete_fields)
    conditions = " AND ".join(_condition(quote, name, form) for name, form in where)
    if kind == "select":
        return f"SELECT {all_columns} FROM {table} WHERE {conditions}"  # noqa: S608 (names of our own)
    greatest = "MAX" if connection.vendor == "sqlite" else "GREATEST"
    assignments = ", ".join(_assignment(quote, greatest, name, form) for name, form in columns)
    text = f"UPDATE {table} SET {assignments} WHERE {conditions}"  # noqa: S608 (names of our own)
    if kind == "update unlocked" and connection.vendor == "postgresql":
        # The lock of an UPDATE, which a new notice of the task does not hold up.
        unlocked = f"SELECT id FROM {table} WHERE id = %s FOR NO KEY UPDATE SKIP LOCKED"  # noqa: S608 (names of our own)
        return f"{text} AND id = ({unlocked})"
    if kind == "update unlocked":
        return f"SET STATEMENT innodb_lock_wait_timeout=1 FOR {text}"
    return f"{text} RETURNING {all_columns}" if kind == "update returning" else text


def _condition(quote: Callable[[str], str], name: str, form: str | int) -> str:
    name, _, lookup = name.partition("__")
    column = quote(_fields()[name].column)
    if form == _NULL:
        return f"{column} IS NULL"
    if isinstance(form, int):
        return f"{column} IN ({', '.join(['%s'] * form)})"
    return f"{column} {_OPERATORS[lookup]} %s"


_OPERATORS: Final = {"": "=", "lt": "<"}


def _assignment(quote: Callable[[str], str], greatest: str, name: str, form: str | int) -> str:
    column = quote(_fields()[name].column)
    return f"{column} = {greatest}({column} + 1, %s)" if form == _NEXT_SEQ else f"{column} = %s"


def _parameters(columns: Columns, where: Conditions, connection: Any) -> list[Any]:
    fields = _fields()
    parameters: list[Any] = []
    for name, value in columns.items():
        written = value.at_least if isinstance(value, NextSeq) else value
        parameters.append(fields[name].get_db_prep_save(written, connection))
    for name, value in where.items():
        field = fields[name.partition("__")[0]]
        accepted = value if isinstance(value, tuple) else () if value is None else (value,)
        parameters += [field.get_db_prep_value(each, connection) for each in accepted]
    return parameters


@cache
def _fields() -> dict[str, Any]:
    return {field.attname: field for field in TaskState._meta.concrete_fields}


def _can_return(connection: Any) -> bool:
    if connection.vendor == "sqlite":
        return bool(connection.Database.sqlite_version_info >= (3, 35))
    return bool(connection.vendor == "postgresql")


def _row(rows: Sequence[Sequence[Any]], connection: Any) -> TaskState | None:
    if not rows:
        return None
    values = list(rows[0])
    for position, field, converters in _converters(connection.alias):
        for convert in converters:
            values[position] = convert(values[position], field, connection)
    return TaskState.from_db(connection.alias, list(_fields()), values)


@cache
def _converters(alias: str) -> list[tuple[int, Any, list[Any]]]:
    """By position in a row: how the database's value becomes the field's, as the ORM does it."""
    connection, table = connections[alias], TaskState._meta.db_table
    found = []
    for position, field in enumerate(TaskState._meta.concrete_fields):
        column = field.get_col(table)
        converters = connection.ops.get_db_converters(column) + column.get_db_converters(connection)
        if converters:
            found.append((position, column, converters))
    return found
