"""PostgreSQL behind PgBouncer in transaction mode: there LISTEN is taken and nothing heard, which is found out."""

from collections.abc import Callable, Iterator

import pytest

from telltale.brokers.base import Broker
from telltale.brokers.postgres import courier as postgres_courier
from telltale.brokers.postgres import probe as postgres_hearing
from telltale.testing.brokers import eventually, hear, said
from tests.servers import PgBouncer, Postgres, running

pytestmark = pytest.mark.service

Make = Callable[..., Broker]


@pytest.fixture(scope="module")
def pgbouncer(postgres: Postgres) -> Iterator[PgBouncer]:
    with running(lambda directory: PgBouncer(directory, postgres)) as server:
        yield server


@pytest.fixture(autouse=True)
def shorter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_hearing, "PROOF_S", 0.5)
    monkeypatch.setattr(postgres_courier, "DEAF_S", 0.5)
    monkeypatch.setattr(postgres_courier, "MISSED_EVERY_S", 0.1)


def test_a_deaf_listener_says_so_once_with_the_mend_and_keeps_the_databases_pace(
    make: Make, pgbouncer: PgBouncer, caplog: pytest.LogCaptureFixture
) -> None:
    heard = hear(make(pgbouncer.url.replace("telltale@", "telltale:s3cret@")))
    eventually(lambda: heard.missed > 15, "it is told again and again that it misses things")
    assert caplog.text.count("Hearing PostgreSQL's notifications failed") == 1
    assert "Name the PostgreSQL server itself" in caplog.text
    assert "s3cret" not in caplog.text


def test_by_an_address_of_its_own_it_hears_also_what_is_sent_through_the_pooler(
    make: Make, pgbouncer: PgBouncer
) -> None:
    heard, pooled = hear(make()), make(pgbouncer.url)
    deaf = hear(pooled)
    pooled.publish(said(b"through the pooler"))
    make().publish(said(b"directly"))
    heard.until(b"through the pooler", b"directly")
    assert heard.missed == 0
    eventually(lambda: deaf.missed > 0, "the deaf one is told")
