"""A test with real transactions leaves nothing to the next one."""

import pytest
from django.apps import apps
from django.contrib.auth.models import Permission
from django.db import connection

from tests import empty_tables
from tests.factories import person, task_of

pytestmark = pytest.mark.django_db(transaction=True)


def filled() -> set[str]:
    """Return the tables that have rows."""
    tables = set(connection.introspection.django_table_names(only_existing=True))
    managers = {model._meta.db_table: model._base_manager for model in apps.get_models(include_auto_created=True)}
    return {table for table in tables if managers[table].exists()}


@pytest.mark.parametrize("order", ["first", "second"])
def test_each_test_finds_only_the_rows_that_were_made_with_the_tables(order: str) -> None:
    assert filled() == empty_tables.KEPT
    ada = person(order)
    ada.user_permissions.add(Permission.objects.get(codename="view_taskstate"))
    task_of(ada)
    assert filled() == {*empty_tables.KEPT, "auth_user", "auth_user_user_permissions", "telltale_taskstate"}
