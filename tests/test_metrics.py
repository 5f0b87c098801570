"""The metrics of workers and of the site, read by Prometheus's and OpenTelemetry's own libraries."""

from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry, generate_latest

import telltale
from telltale import conf, store
from telltale.core.states import State
from telltale.metrics import opentelemetry
from telltale.metrics.process import BROKER, WORKER
from telltale.metrics.prometheus import ProcessCollector, SiteCollector
from telltale.metrics.site import SITE
from telltale.models import TaskState
from telltale.worker.attempt import Attempt
from telltale.worker.reporter import reporter
from tests.factories import started, task_of

pytestmark = pytest.mark.django_db


def prometheus_value(name: str, **labels: str) -> float:
    registry = CollectorRegistry()
    registry.register(ProcessCollector())
    registry.register(SiteCollector())
    assert f"# HELP {name} ".encode() in generate_latest(registry)
    value = registry.get_sample_value(name, labels)
    assert value is not None
    return value


def opentelemetry_values() -> dict[tuple[str, str], Any]:
    reader = InMemoryMetricReader()
    opentelemetry.observe(MeterProvider([reader]), site=True)
    data = reader.get_metrics_data()
    assert data is not None
    [resource] = data.resource_metrics
    [scope] = resource.scope_metrics
    return {
        (metric.name, next(iter((point.attributes or {}).values()), "")): point.value
        for metric in scope.metrics
        for point in metric.data.data_points
    }


@pytest.mark.django_db(transaction=True)
def test_runs_and_their_ends_are_counted() -> None:
    begun, failed = prometheus_value("telltale_begun_total"), prometheus_value("telltale_ended_total", state="failed")
    with telltale.track("Import"):
        assert prometheus_value("telltale_running") == 1
    with pytest.raises(ValueError, match="no row"), telltale.track("Import"):
        raise ValueError("no row")
    assert prometheus_value("telltale_running") == 0
    assert prometheus_value("telltale_begun_total") == begun + 2
    assert prometheus_value("telltale_ended_total", state="failed") == failed + 1


def test_an_attempt_that_is_taken_back_is_counted() -> None:
    claim = started(task_of())
    attempt = Attempt(task_id=claim.id)
    attempt.begin(claim, save_every_s=2.0)
    store.expire([claim.id], now=store.now() + conf.settings().lease_s + 1)
    before = prometheus_value("telltale_taken_back_total")
    assert attempt.take_back(claim) is not None
    assert prometheus_value("telltale_taken_back_total") == before + 1


def test_ends_that_the_database_has_not_accepted_are_shown() -> None:
    saver = reporter().saver
    saver._ends.append(end := lambda: None)
    try:
        assert prometheus_value("telltale_ends_waiting") == 1
    finally:
        saver._ends.remove(end)


def test_open_tasks_are_counted_by_state_and_the_longest_wait_is_told() -> None:
    now = store.now()
    store.queue(runner="thread", name="import", now=now - 600)
    store.queue(runner="thread", name="import", now=now - 9_000, due_at=now + 3_600)
    started(task_of())
    assert prometheus_value("telltale_tasks", state="queued") == 2
    assert prometheus_value("telltale_tasks", state="running") == 1
    assert prometheus_value("telltale_tasks", state="retrying") == 0
    assert 600 <= prometheus_value("telltale_longest_wait_seconds") < 700


def test_a_task_that_is_run_again_waits_from_then_on_and_one_for_later_from_when_it_is_due() -> None:
    now = store.now()
    failed = store.queue(runner="thread", name="import", now=now - 90_000).task
    store.end(failed.pk, 1, State.FAILED, now=now - 80_000)
    assert store.requeue(failed.pk, now=now - 60)
    store.queue(runner="thread", name="import", now=now - 9_000, due_at=now - 300)
    assert 300 <= prometheus_value("telltale_longest_wait_seconds") < 400


def test_a_task_whose_worker_was_killed_is_silent() -> None:
    claim = started(task_of())
    assert prometheus_value("telltale_silent_tasks") == 0
    TaskState.objects.filter(pk=claim.id).update(lease_until=store.now() - 1)
    assert prometheus_value("telltale_silent_tasks") == 1


def test_a_loss_that_a_page_has_read_is_still_told() -> None:
    claim = started(task_of())
    store.expire([claim.id], now=store.now() + conf.settings().lease_s + 1)
    assert prometheus_value("telltale_recent_ends", state="lost") == 1
    assert prometheus_value("telltale_recent_ends", state="failed") == 0


def test_opentelemetry_has_the_same_metrics() -> None:
    store.queue(runner="thread", name="import", task_id=uuid4())
    values = opentelemetry_values()
    assert {name for name, _label in values} == {metric.name for metric in (*WORKER, *BROKER, *SITE)}
    assert values["telltale_tasks", "queued"] == 1
    assert values["telltale_begun", ""] == prometheus_value("telltale_begun_total")


def test_the_sites_metrics_read_no_ended_task() -> None:
    ended = [
        TaskState(
            runner="thread", runner_id=str(n), name="import", state=State.SUCCEEDED, created_at=1.0, ended_at=float(n)
        )
        for n in range(1, 3_001)
    ]
    TaskState.objects.bulk_create(ended)
    with CaptureQueriesContext(connection) as captured:
        prometheus_value("telltale_tasks", state="queued")
    assert len(captured) <= 3 * (len(SITE) + 4)
    if connection.vendor == "sqlite":
        for query in captured:
            with connection.cursor() as cursor:
                cursor.execute(f"EXPLAIN QUERY PLAN {query['sql']}")
                plan = " ".join(str(row[-1]) for row in cursor.fetchall())
            assert "SCAN telltale_taskstate" not in plan, f"{query['sql']}: {plan}"
