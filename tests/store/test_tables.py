"""The tables: constraints that the database itself checks, and migrations."""

from typing import Any

import pytest
from django.core.management import call_command
from django.db import IntegrityError

from telltale.models import TaskState
from tests.store.factories import queue

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"state": "running"},
        {"state": "succeeded"},
        {"state": "queued", "ended_at": 1.0},
        {"state": "nonsense"},
        {"attempt": 0},
    ],
)
def test_the_database_refuses_a_row_that_contradicts_itself(wrong: dict[str, Any]) -> None:
    task = queue()
    with pytest.raises(IntegrityError):
        TaskState.objects.filter(pk=task.pk).update(**wrong)


def test_the_migrations_match_the_models() -> None:
    call_command("makemigrations", "telltale", check=True, dry_run=True, verbosity=0)
