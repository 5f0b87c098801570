"""Migrations lock no big table, and leave processes of the earlier version working."""

from typing import Any

import pytest
from django.db import migrations, models
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation

from telltale.migrations._concurrently import AddIndexConcurrently
from tests.upgrade.migration_rules import faults_of


def added(field: models.Field[Any, Any]) -> Operation:
    return migrations.AddField("taskstate", "colour", field)


INDEX = models.Index(fields=["label"], name="telltale_task_label")
CHECK = models.CheckConstraint(condition=models.Q(seq__gte=0), name="telltale_task_seq")


def test_no_migration_locks_a_big_table_or_breaks_processes_of_the_earlier_version() -> None:
    found = MigrationLoader(None, ignore_no_migrations=True).disk_migrations
    ours = {name: migration for (app, name), migration in found.items() if app == "telltale"}
    assert "0001_initial" in ours
    faults = {name: faults_of(it.operations, is_atomic=it.atomic) for name, it in ours.items()}
    assert not any(faults.values()), faults


@pytest.mark.parametrize(
    ("operation", "word"),
    [
        (added(models.CharField(max_length=9, default="")), "db_default"),
        (added(models.FloatField(null=True, db_index=True)), "index"),
        (added(models.CharField(max_length=9, null=True, unique=True)), "index"),
        (added(models.ForeignKey("auth.User", null=True, on_delete=models.CASCADE)), "db_constraint"),
        (migrations.AlterField("taskstate", "label", models.TextField()), "two releases"),
        (migrations.RemoveField("taskstate", "label"), "next release"),
        (migrations.RenameField("taskstate", "label", "title"), "a release later"),
        (migrations.RenameModel("TaskState", "Task"), "a release later"),
        (migrations.AlterModelTable("taskstate", "task"), "a release later"),
        (migrations.DeleteModel("TaskFollower"), "a release later"),
        (migrations.AddIndex("storednotice", INDEX), "AddIndexConcurrently"),
        (migrations.AddConstraint("taskstate", CHECK), "Check it in the code"),
        (migrations.RunSQL("UPDATE telltale_taskstate SET seq = 0"), "batches"),
        (migrations.RunPython(lambda apps, editor: None), "batches"),
        (migrations.AlterOrderWithRespectTo("taskstate", "owner"), "rules do not know"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Operation) else "",
)
def test_an_operation_that_locks_a_big_table_or_breaks_an_earlier_version_is_found(
    operation: Operation, word: str
) -> None:
    [fault] = faults_of([operation])
    assert word in fault


def test_operations_that_lock_nothing_for_long_are_allowed() -> None:
    allowed = [
        added(models.FloatField(null=True)),
        added(models.BooleanField(db_default=False)),
        migrations.AddIndex("usualduration", INDEX),
        migrations.CreateModel("Colour", [("id", models.BigAutoField(primary_key=True))]),
        migrations.AddIndex("colour", INDEX),
        migrations.SeparateDatabaseAndState(state_operations=[migrations.RemoveField("taskstate", "label")]),
    ]
    assert faults_of(allowed) == []
    assert faults_of([AddIndexConcurrently("taskstate", INDEX)], is_atomic=False) == []
    assert "atomic = False" in faults_of([AddIndexConcurrently("taskstate", INDEX)])[0]
