"""The metrics as instruments of OpenTelemetry, of which only the API is needed here.

from telltale.metrics import opentelemetry

opentelemetry.observe()
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation, get_meter

from telltale.metrics.metric import Kind, Metric
from telltale.metrics.process import BROKER, WORKER
from telltale.metrics.site import SITE


def observe(meter_provider: MeterProvider | None = None, *, site: bool = False) -> None:
    """Have the meter provider (by default, the process's) observe this process's metrics; call it once.

    `site`: also those of the whole site, which are read from the database. Set it in one process only.
    """
    meter = get_meter("telltale", meter_provider=meter_provider)
    metrics: Sequence[Metric] = (*WORKER, *BROKER, *(SITE if site else ()))
    for metric in metrics:
        create: Any = meter.create_observable_counter if metric.kind is Kind.COUNTER else meter.create_observable_gauge
        create(metric.name, callbacks=[_callback(metric)], description=metric.meaning)


def _callback(metric: Metric) -> Callable[[CallbackOptions], Iterable[Observation]]:
    def read(_options: CallbackOptions) -> Iterable[Observation]:
        values = metric.read()
        if not isinstance(values, Mapping):
            return [Observation(values)]
        return [Observation(value, {metric.label or "": label}) for label, value in values.items()]

    return read
