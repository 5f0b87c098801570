"""Joins a task's trace to that of the request that started it, by OpenTelemetry, if the site uses it.

The row keeps the context of the request as its propagators write it, so it passes through every runner. Each attempt is
a span. Source: https://opentelemetry.io/docs/specs/otel/context/api-propagators/. An error of OpenTelemetry is logged,
and disturbs neither a request nor a task.
"""

import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

logger = logging.getLogger(__name__)

CARRIER_BYTES: Final = 1_000
"""The longest context that a row keeps. That of a span takes 55 bytes; the rest is for the vendor's state."""

_BAGGAGE: Final = "baggage"
"""The field with the site's own data, which may be private: it is not kept."""


_ATTRIBUTES: Final = ("telltale.task.id", "telltale.task.name", "telltale.attempt")


def is_in_use() -> bool:
    """Whether the site has imported OpenTelemetry's API. Without it, nothing here imports it or does anything."""
    return "opentelemetry.trace" in sys.modules


def carrier() -> dict[str, str] | None:
    """Return the context of the current span as text, by field; None without a span, or if it is too long."""
    if not is_in_use():
        return None
    fields: dict[str, str] = {}
    try:
        from opentelemetry import propagate

        propagate.inject(fields)
    except Exception:
        logger.exception("The context of a trace can't be read. The task's trace will not be joined to it.")
        return None
    fields = {str(name): str(value) for name, value in fields.items() if name != _BAGGAGE}
    if sum(len(name) + len(value) for name, value in fields.items()) > CARRIER_BYTES:
        return None
    return fields or None


class Run:
    """The span of an attempt. Without OpenTelemetry, it does nothing."""

    def __init__(self, span: Any = None) -> None:
        self._span = span

    def end(self, state: str, error: BaseException | None) -> None:
        """Note the state in which the attempt ended, and the exception that ended it, if any."""
        if self._span is None:
            return
        try:
            from opentelemetry.trace import Status, StatusCode

            self._span.set_attribute("telltale.state", state)
            if error is not None and state == "failed":
                self._span.record_exception(error)
                self._span.set_status(Status(StatusCode.ERROR, type(error).__name__))
        except Exception:
            logger.exception("The end of a task can't be traced.")


@contextmanager
def run_span(joined: Mapping[str, str] | None, run: tuple[str, str, int] | None) -> Iterator[Run]:
    """Within it, the span of an attempt is the current one. `run`: the task's id, its name, the attempt's number.

    Its parent is the span that is current already, such as that of the runner's own instrumentation, else the context
    `joined`, as `carrier` returned it.
    """
    entered = _enter(joined, run) if is_in_use() else None
    if entered is None:
        yield Run()
        return
    span, outer = entered
    is_here = True
    try:
        yield Run(span)
    except GeneratorExit:
        # A generator around the run was left early. It may be finalized while another task runs in this thread.
        is_here = _is_current(span)
        raise
    finally:
        _leave(span, outer if is_here else None)


def _enter(joined: Mapping[str, str] | None, run: tuple[str, str, int] | None) -> tuple[Any, Any] | None:
    try:
        from opentelemetry import context, propagate, trace

        outer = context.get_current()
        parent = outer
        if joined and not trace.get_current_span().get_span_context().is_valid:
            parent = propagate.extract(joined, context=outer)
        span = trace.get_tracer("telltale").start_span(
            f"run {run[1]}" if run else "run",
            context=parent,
            kind=trace.SpanKind.CONSUMER,
            attributes=dict(zip(_ATTRIBUTES, run or (), strict=False)),
        )
        context.attach(trace.set_span_in_context(span, parent))
        return span, outer
    except Exception:
        logger.exception("A task can't be traced.")
        return None


def _is_current(span: Any) -> bool:
    try:
        from opentelemetry import trace

        return trace.get_current_span() is span
    except Exception:
        logger.exception("The current span can't be found.")
        return False


def _leave(span: Any, outer: Any) -> None:
    """End the span; `outer`: the context from now on, None for the present one."""
    try:
        from opentelemetry import context

        # Not `detach(token)`: an async task begins and ends in two threads, each with its own copy of the context.
        if outer is not None:
            context.attach(outer)
        span.end()
    except Exception:
        logger.exception("The span of a task can't be ended.")
