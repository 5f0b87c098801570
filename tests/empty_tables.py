"""What a test with real transactions leaves in the database is deleted after it.

Django's own way is its command `flush`. It empties each table, also those without a row, and creates all permissions
again. That took longer than most tests.
"""

from django.core.management.color import no_style
from django.db import connections
from django.test import TransactionTestCase

KEPT = {"django_content_type", "auth_permission"}
"""Their rows are made with the tables. No test changes them."""


def install() -> None:
    """Let tests use it."""
    TransactionTestCase._fixture_teardown = _empty_tables  # type: ignore[method-assign]


def _empty_tables(case: TransactionTestCase) -> None:
    for alias in case._databases_names(include_mirrors=False):
        connection = connections[alias]
        names = connection.introspection.django_table_names(only_existing=True, include_views=False)
        tables = sorted({*names} - KEPT)
        with connection.cursor() as cursor:
            has_rows = (f"EXISTS (SELECT 1 FROM {connection.ops.quote_name(table)})" for table in tables)
            cursor.execute(f"SELECT {', '.join(has_rows)}")
            filled = [table for table, has in zip(tables, cursor.fetchone(), strict=True) if has]
        # PostgreSQL empties no table alone to which another refers.
        is_cascading = connection.vendor == "postgresql"
        if filled:
            connection.ops.execute_sql_flush(connection.ops.sql_flush(no_style(), filled, allow_cascade=is_cascading))
