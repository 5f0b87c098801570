"""The time limit of a worker's calls, on PostgreSQL and MariaDB: it cuts what takes longer, and nothing after it."""

import pytest
from django.db import Error, connection

from telltale import store

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor == "sqlite", reason="A call of SQLite waits for locks only."),
]


def sleep(seconds: float) -> None:
    function = {"postgresql": "pg_sleep", "mysql": "sleep"}[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {function}(%s)", [seconds])


def test_a_call_that_takes_longer_than_its_limit_fails_and_a_later_one_without_a_limit_does_not() -> None:
    connection.close()
    with store.time_limit(2):  # It connects, with a limit for that too.
        sleep(0)
    sleep(2.5)
    with pytest.raises(Error), store.time_limit(0.2):
        sleep(60)
    connection.close()
    sleep(0)
