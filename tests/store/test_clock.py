"""The store's clock: the database's, whatever happens to this machine's."""

import time
from collections.abc import Iterator

import pytest
from django.db import connection

from telltale import store
from telltale.store import clock

pytestmark = pytest.mark.django_db(transaction=True)

HOUR_S = 3_600.0


@pytest.fixture(autouse=True)
def _unmeasured() -> Iterator[None]:
    clock._measurements.clear()
    yield
    clock._measurements.clear()


def test_a_database_on_a_server_keeps_its_time_when_the_clock_of_this_machine_is_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if connection.vendor == "sqlite":
        # SQLite has no clock of its own. Its stand-in is a query that any database answers.
        monkeypatch.setitem(clock._QUERIES, "sqlite", "SELECT 5000000000.0")
    before, real = store.now(), time.time
    for by_s in (HOUR_S, -HOUR_S):
        monkeypatch.setattr(time, "time", lambda by_s=by_s: real() + by_s)
        assert abs(store.now() - before) < HOUR_S / 2


def test_the_database_is_asked_again_when_this_machine_s_clock_was_set_or_it_slept(
    monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: object
) -> None:
    monkeypatch.setitem(clock._QUERIES, connection.vendor, "SELECT 5000000000.0")
    assert store.now() == pytest.approx(5e9, abs=600)
    real = time.time
    with django_assert_num_queries(0):  # type: ignore[operator]
        store.now()
    monkeypatch.setattr(time, "time", lambda: real() + HOUR_S)
    with django_assert_num_queries(1):  # type: ignore[operator]
        store.now()
        store.now()
