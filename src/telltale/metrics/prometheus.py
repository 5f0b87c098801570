"""The metrics as collectors of `prometheus_client`, for the registry of the site's own exporter.

from prometheus_client import REGISTRY
from telltale.metrics.prometheus import ProcessCollector

REGISTRY.register(ProcessCollector())
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector

from telltale.metrics.metric import Kind, Metric
from telltale.metrics.process import BROKER, WORKER
from telltale.metrics.site import SITE


def families(metrics: Sequence[Metric]) -> Iterator[Family]:
    """Yield the metrics with their values now."""
    for metric in metrics:
        make = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
        family = make(metric.name, metric.meaning, labels=None if metric.label is None else [metric.label])
        values = metric.read()
        if isinstance(values, Mapping):
            for label, value in values.items():
                family.add_metric([label], value)
        else:
            family.add_metric([], values)
        yield family


class _MetricsCollector(Collector):
    metrics: Sequence[Metric]

    def collect(self) -> Iterable[Family]:
        """Called by the registry."""
        return families(self.metrics)

    def describe(self) -> Iterable[Family]:
        """Called when it is registered: nothing is read then."""
        return []


class ProcessCollector(_MetricsCollector):
    """What this process does with tasks, and what its broker does."""

    metrics = (*WORKER, *BROKER)


class SiteCollector(_MetricsCollector):
    """The open tasks of the whole site, read from the database. Register it in one process.

    `collect` raises `django.db.Error` while the database is unavailable.
    """

    metrics = SITE
