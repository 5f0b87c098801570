"""A metric, independent of the library that exports it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum


class Kind(Enum):
    """How a value changes."""

    GAUGE = "gauge"
    COUNTER = "counter"
    """Only grows, from 0 at the start of the process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A number, or one for each value of a label."""

    name: str
    """Without the suffix `_total`, which Prometheus's client adds to counters."""
    meaning: str
    kind: Kind
    read: Callable[[], float | Mapping[str, float]] = field(repr=False)
    """The number now; with `label`, the numbers by its values."""
    label: str | None = None
