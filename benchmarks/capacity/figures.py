"""A figure that was predicted and measured, and the verdict on it. Knows nothing of how either came about."""

import statistics
from dataclasses import asdict, dataclass
from typing import Final

MOST_ERROR: Final = 0.20
"""Of a prediction, as a share of what was measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One of them."""

    name: str
    unit: str
    predicted: float
    measured: tuple[float, ...]
    """One reading after another; their median counts."""

    @property
    def middle(self) -> float:
        """Of what was measured."""
        return statistics.median(self.measured)

    @property
    def error(self) -> float:
        """Of the prediction, as a share of what was measured; negative where it was too small."""
        return self.predicted / self.middle - 1

    @property
    def is_met(self) -> bool:
        """Whether it is close enough."""
        return abs(self.error) <= MOST_ERROR

    @property
    def spread(self) -> str:
        """Least and most of what was measured."""
        return f"{min(self.measured):.3g} – {max(self.measured):.3g}"

    def to_json(self) -> dict[str, object]:
        """Plain values, in four digits."""
        figures = {"predicted": float(f"{self.predicted:.4g}"), "measured": [float(f"{m:.4g}") for m in self.measured]}
        return {**asdict(self), **figures}
