"""The PostgreSQL broker behind PgBouncer in transaction mode, where LISTEN succeeds but nothing is received."""

from collections.abc import Iterator
from typing import Any

import pytest

from telltale.brokers.postgres import notification_thread, probe
from telltale.management.doctor import broker as examination
from telltale.testing.brokers import assert_eventually, collect, make_messages
from tests.brokers.factory import MakeBroker
from tests.servers import PgBouncer, Postgres, running

pytestmark = pytest.mark.service


@pytest.fixture(scope="module")
def pgbouncer(postgres: Postgres) -> Iterator[PgBouncer]:
    with running(lambda directory: PgBouncer(directory, postgres)) as server:
        yield server


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notification_thread, "RETRY_LISTEN_S", 0.5)
    monkeypatch.setattr(notification_thread, "MISSED_EVERY_S", 0.1)


def test_f22_a_pooled_listener_logs_the_problem_once_and_reports_missed_messages_regularly(
    make_broker: MakeBroker, pgbouncer: PgBouncer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "PROBE_TIMEOUT_S", 0.5)
    received = collect(make_broker(pgbouncer.url.replace("telltale@", "telltale:s3cret@")))
    assert_eventually(lambda: received.missed_count > 15, "missed messages are reported again and again")
    assert caplog.text.count("Receiving PostgreSQL's notifications failed") == 1
    assert "Name the PostgreSQL server itself" in caplog.text
    assert "s3cret" not in caplog.text


def test_a_direct_listener_receives_messages_that_were_published_through_the_pooler(
    make_broker: MakeBroker, pgbouncer: PgBouncer, monkeypatch: pytest.MonkeyPatch
) -> None:
    received, pooled_broker = collect(make_broker()), make_broker(pgbouncer.url)
    monkeypatch.setattr(probe, "PROBE_TIMEOUT_S", 0.5)
    pooled_received = collect(pooled_broker)
    pooled_broker.publish(make_messages(b"through the pooler"))
    make_broker().publish(make_messages(b"directly"))
    received.assert_received(b"through the pooler", b"directly")
    assert received.missed_count == 0
    assert_eventually(lambda: pooled_received.missed_count > 0, "the pooled listener reports missed messages")


def test_the_doctor_finds_a_pooler_that_delivers_no_notifications_and_none_in_a_direct_address(
    pgbouncer: PgBouncer, postgres: Postgres, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.TELLTALE = {"BROKER": postgres.url}
    assert list(examination.examine_broker()) == []
    monkeypatch.setattr(examination, "WAIT_S", 2.0)
    monkeypatch.setattr(probe, "PROBE_TIMEOUT_S", 0.5)
    settings.TELLTALE = {"BROKER": pgbouncer.url.replace("telltale@", "telltale:s3cret@")}
    [finding] = examination.examine_broker()
    assert finding.id == "broker-deaf-pooler"
    assert "Name the PostgreSQL server itself, not the pooler" in finding.setting
    assert "s3cret" not in str(finding)
