"""A predicted figure beside its measurements, and whether it is close enough."""

import statistics
from dataclasses import asdict, dataclass
from typing import Final

MAX_ERROR: Final = 0.20
"""Of a prediction, as a share of the measured figure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """One figure, predicted and measured."""

    name: str
    unit: str
    predicted: float
    measured: tuple[float, ...]
    """All readings; their median counts."""

    @property
    def median(self) -> float:
        """The median of the readings."""
        return statistics.median(self.measured)

    @property
    def error(self) -> float:
        """The relative error of the prediction; negative if it is too small."""
        return self.predicted / self.median - 1

    @property
    def is_met(self) -> bool:
        """Whether the error is at most `MAX_ERROR`."""
        return abs(self.error) <= MAX_ERROR

    @property
    def spread(self) -> str:
        """The smallest and the largest reading."""
        return f"{min(self.measured):.3g} – {max(self.measured):.3g}"

    def to_json(self) -> dict[str, object]:
        """Plain values, in four digits."""
        rounded = {"predicted": float(f"{self.predicted:.4g}"), "measured": [float(f"{m:.4g}") for m in self.measured]}
        return {**asdict(self), **rounded}
