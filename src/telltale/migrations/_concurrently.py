"""The operation for an index on a table that is in use: later migrations create their indexes with it.

Django ignores this module when it looks for migrations, because its name begins with an underscore.
"""

from typing import Any

from django.db import migrations


class AddIndexConcurrently(migrations.AddIndex):
    """Create an index while others write: on PostgreSQL by `CREATE INDEX CONCURRENTLY`, elsewhere as `AddIndex`.

    The migration has `atomic = False`, and no other operation. If it fails on PostgreSQL, it leaves an invalid index,
    which must be dropped by hand before the next try. MariaDB creates an index without a lock anyway. SQLite holds up
    all writers meanwhile.
    """

    atomic = False

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Create the index."""
        if schema_editor.connection.vendor != "postgresql":
            return super().database_forwards(app_label, schema_editor, from_state, to_state)
        model = to_state.apps.get_model(app_label, self.model_name)
        if self.allow_migrate_model(schema_editor.connection.alias, model):
            schema_editor.add_index(model, self.index, concurrently=True)
        return None

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Drop the index."""
        if schema_editor.connection.vendor != "postgresql":
            return super().database_backwards(app_label, schema_editor, from_state, to_state)
        model = from_state.apps.get_model(app_label, self.model_name)
        if self.allow_migrate_model(schema_editor.connection.alias, model):
            schema_editor.remove_index(model, self.index, concurrently=True)
        return None
