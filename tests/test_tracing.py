"""A task's trace joins that of the request that started it: with OpenTelemetry's own SDK, and without it."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connections
from opentelemetry import baggage, context, propagate, trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import telltale
from telltale import store, tracing
from telltale.models import TaskState
from telltale.owners import Owner
from telltale.worker.run import run_attempt

pytestmark = pytest.mark.django_db

_exporter = InMemorySpanExporter()
_provider = TracerProvider()
_provider.add_span_processor(SimpleSpanProcessor(_exporter))
tracer = _provider.get_tracer("tests")


@pytest.fixture(autouse=True)
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    monkeypatch.setattr(trace, "get_tracer", lambda name: _provider.get_tracer(name))
    yield _exporter
    _exporter.clear()


def queued(name: str = "shop.tasks.import_contacts") -> TaskState:
    return store.queue(runner="thread", name=name, owner=Owner()).task


def run(task: TaskState) -> Any:
    return run_attempt(task_id=task.pk, runner="thread", name=task.name)


def span_of_run(exporter: InMemorySpanExporter) -> ReadableSpan:
    [span] = [span for span in exporter.get_finished_spans() if span.name.startswith("run")]
    return span


def test_the_run_of_a_task_is_a_child_of_the_request_that_queued_it(spans: InMemorySpanExporter) -> None:
    with tracer.start_as_current_span("POST /imports") as request:
        task = queued()
    with run(task):
        inner = trace.get_current_span().get_span_context()
    span = span_of_run(spans)
    assert span.context == inner
    assert span.parent is not None
    assert (span.parent.trace_id, span.parent.span_id) == (
        request.get_span_context().trace_id,
        request.get_span_context().span_id,
    )
    assert span.attributes == {
        "telltale.task.id": str(task.pk),
        "telltale.task.name": "shop.tasks.import_contacts",
        "telltale.attempt": 1,
        "telltale.state": "succeeded",
    }


def test_a_span_that_the_runners_instrumentation_began_is_the_parent(spans: InMemorySpanExporter) -> None:
    with tracer.start_as_current_span("POST /imports"):
        task = queued()
    with tracer.start_as_current_span("celery run") as outer, run(task):
        pass
    parent = span_of_run(spans).parent
    assert parent is not None
    assert parent.span_id == outer.get_span_context().span_id


def test_after_a_run_the_outer_context_is_current_again() -> None:
    outer = context.get_current()
    with run(queued()):
        assert trace.get_current_span().get_span_context().is_valid
    assert context.get_current() is outer


def test_a_run_in_a_generator_that_is_left_does_not_change_the_context_of_what_runs_later() -> None:
    def rows(task: TaskState) -> Iterator[int]:
        with run(task):
            yield 1

    reading = rows(queued())
    outer = context.get_current()
    next(reading)
    context.attach(outer)
    with tracer.start_as_current_span("another request") as span:
        reading.close()
        assert trace.get_current_span() is span


def test_a_failed_run_records_its_exception(spans: InMemorySpanExporter) -> None:
    task = queued()
    with pytest.raises(ValueError, match="no such row"), run(task):
        raise ValueError("no such row")
    span = span_of_run(spans)
    assert span.attributes is not None
    assert span.attributes["telltale.state"] == "failed"
    assert (span.status.is_ok, [event.name for event in span.events]) == (False, ["exception"])


def test_a_cancelled_run_is_no_error(spans: InMemorySpanExporter) -> None:
    task = queued()
    with pytest.raises(telltale.Cancelled), run(task):
        raise telltale.Cancelled
    span = span_of_run(spans)
    assert span.attributes is not None
    assert (span.attributes["telltale.state"], span.status.is_ok, span.events) == ("cancelled", True, ())


def test_a_retry_joins_the_trace_of_its_own_request() -> None:
    with tracer.start_as_current_span("POST /imports"):
        task = queued()
    with pytest.raises(ValueError, match="once"), run(task):
        raise ValueError("once")
    with tracer.start_as_current_span("POST /retry") as request:
        assert store.requeue(task.pk) is not None
    trace_id = f"{request.get_span_context().trace_id:032x}"
    assert trace_id in TaskState.objects.get(pk=task.pk).trace["traceparent"]


def test_without_a_span_nothing_is_kept() -> None:
    assert queued().trace is None


def test_the_sites_baggage_is_not_kept() -> None:
    with tracer.start_as_current_span("POST /imports"):
        token = context.attach(baggage.set_baggage("email", "ada@example.org"))
        try:
            kept = tracing.carrier()
        finally:
            context.detach(token)
    assert kept is not None
    assert list(kept) == ["traceparent"]


def test_a_context_that_is_too_long_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(propagate, "inject", lambda fields: fields.update(vendor="x" * tracing.CARRIER_BYTES))
    assert tracing.carrier() is None


@pytest.mark.parametrize("function", ["inject", "extract"])
def test_an_error_of_a_propagator_disturbs_neither_request_nor_task(
    function: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object, **_kwargs: object) -> None:
        raise RuntimeError("broken propagator")

    monkeypatch.setattr(propagate, function, fail)
    with tracer.start_as_current_span("POST /imports"):
        task = queued()
    with run(task):
        pass
    task.refresh_from_db()
    assert task.state == "succeeded"


@pytest.mark.django_db(transaction=True)
def test_an_async_run_leaves_no_span_behind(spans: InMemorySpanExporter) -> None:
    async def work() -> trace.SpanContext:
        outer = context.get_current()
        async with telltale.track("Rebuild index"):
            inner = trace.get_current_span().get_span_context()
        assert context.get_current() == outer
        await sync_to_async(connections.close_all)()
        return inner

    assert asyncio.run(work()) == span_of_run(spans).context


def test_a_site_without_opentelemetry_does_not_import_it() -> None:
    code = "import sys, telltale.tracing as t; assert t.carrier() is None; print('opentelemetry' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert answer.stdout.strip() == "False"
