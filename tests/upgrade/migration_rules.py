"""Which operations of a migration lock a big table, or break processes of the earlier version that run beside it.

`test_migrations.py` applies the rules to every migration after the first. What a rule forbids is done in two releases:
docs/upgrading.md says how.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from django.db import migrations
from django.db.migrations.operations.base import Operation
from django.db.models import NOT_PROVIDED

from telltale.migrations._concurrently import AddIndexConcurrently

SMALL_TABLES: Final = frozenset({"usualduration"})
"""They have a row for each kind of task. All others may have millions."""


def faults_of(operations: Sequence[Operation], *, is_atomic: bool = True) -> list[str]:
    """What these operations of one migration must not do, each with the mend; empty if they are fine."""
    created = {it.name.lower() for it in operations if isinstance(it, migrations.CreateModel)}
    faults = [fault for operation in operations for fault in _faults_of(operation, created)]
    if is_atomic and any(isinstance(operation, AddIndexConcurrently) for operation in operations):
        faults.append("PostgreSQL creates no index concurrently within a transaction. Set `atomic = False`.")
    return faults


def _faults_of(operation: Operation, created: Iterable[str]) -> Iterable[str]:
    """What one operation must not do. A table that the migration has created is empty, and nobody uses it."""
    if isinstance(operation, migrations.SeparateDatabaseAndState):
        return faults_of(operation.database_operations, is_atomic=False)
    table = str(getattr(operation, "model_name", "") or getattr(operation, "name", "")).lower()
    rule = next((rule for kind, rule in RULES.items() if isinstance(operation, kind)), _unknown)
    fault = None if table in created else rule(operation, table)
    return [] if fault is None else [f"{type(operation).__name__} on {table or 'the database'}: {fault}"]


def _harmless(_operation: Any, _table: str) -> str | None:
    """It changes the state alone, or a catalogue for a moment."""
    return None


def _unknown(_operation: Any, _table: str) -> str | None:
    return "the rules do not know it. Add it to them, with what it locks on each database."


def _code(_operation: Any, _table: str) -> str | None:
    return "it may touch every row in one transaction. Do that in batches, from a management command."


def _add_field(operation: Any, _table: str) -> str | None:
    field = operation.field
    default = getattr(field, "db_default", NOT_PROVIDED)
    if field.is_relation and field.db_constraint:
        return "a foreign key is checked for every row. Use `db_constraint=False`."
    if field.unique or field.db_index:
        return "an index is built while the table is locked. Add the column alone, and then its index."
    if not field.null and default is NOT_PROVIDED:
        return "processes of the earlier version insert rows without it. Use `null=True` or `db_default`."
    if default is not NOT_PROVIDED and not isinstance(default, bool | int | float | str):
        return "a computed default rewrites the table. Use a constant."
    return None


def _alter_field(_operation: Any, table: str) -> str | None:
    if table in SMALL_TABLES:
        return None
    return "it may rewrite the table, or check every row. Add another column, and move to it in two releases."


def _remove_field(_operation: Any, _table: str) -> str | None:
    return (
        "processes of the earlier version still read and insert it. Remove it from the state alone "
        "(`SeparateDatabaseAndState`), and from the database in the next release."
    )


def _rename(_operation: Any, _table: str) -> str | None:
    return "processes of the earlier version use the old name. Add the new one, and remove the old one a release later."


def _add_index(operation: Any, table: str) -> str | None:
    if table in SMALL_TABLES or isinstance(operation, AddIndexConcurrently):
        return None
    return (
        "PostgreSQL locks out writers while it is built. Use `AddIndexConcurrently` of `migrations/_concurrently.py`."
    )


def _add_constraint(_operation: Any, table: str) -> str | None:
    if table in SMALL_TABLES:
        return None
    return "every row is checked while the table is locked. Check it in the code."


def _delete_model(_operation: Any, _table: str) -> str | None:
    return "processes of the earlier version still use the table. Delete it a release later."


RULES: Final[Mapping[type[Operation], Callable[[Any, str], str | None]]] = {
    migrations.CreateModel: _harmless,
    migrations.AlterModelOptions: _harmless,
    migrations.AlterModelManagers: _harmless,
    migrations.RemoveConstraint: _harmless,
    migrations.RemoveIndex: _harmless,
    migrations.RenameIndex: _harmless,
    migrations.AddField: _add_field,
    migrations.AlterField: _alter_field,
    migrations.RemoveField: _remove_field,
    migrations.RenameField: _rename,
    migrations.RenameModel: _rename,
    migrations.AlterModelTable: _rename,
    migrations.AddIndex: _add_index,
    migrations.AddConstraint: _add_constraint,
    migrations.DeleteModel: _delete_model,
    migrations.RunSQL: _code,
    migrations.RunPython: _code,
}
"""What each operation must not do; None if nothing. More special operations come before the classes they extend."""
