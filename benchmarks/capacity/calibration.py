"""The stored calibration, calibration.json: the costs, the machine, and how good the predictions were.

The tables of docs/capacity.md are made from it alone.
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from benchmarks.capacity.costs import Costs
from benchmarks.capacity.predictions import Prediction
from benchmarks.rig import machine

PATH: Final = Path(__file__).parent / "calibration.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Costs and predictions of one machine."""

    measured: str
    """The date and the machine."""
    costs: Costs
    predictions: tuple[Prediction, ...]

    @classmethod
    def of(cls, costs: Costs, predictions: list[Prediction]) -> Self:
        """A calibration made today on this machine."""
        measured = f"{time.strftime('%Y-%m-%d')}, {machine.description()}"
        return cls(measured=measured, costs=costs, predictions=tuple(predictions))

    @classmethod
    def read(cls, path: Path = PATH) -> Self:
        """The stored one; raises `ValueError` if another version stored it."""
        stored = json.loads(path.read_text())
        predictions = tuple(
            Prediction(**{**each, "measured": tuple(each["measured"])}) for each in stored["predictions"]
        )
        return cls(measured=stored["measured"], costs=Costs.from_json(stored["costs"]), predictions=predictions)

    def write(self, path: Path = PATH) -> None:
        """Replace the stored one."""
        stored = {
            "measured": self.measured,
            "costs": {name: round(cost, 3) for name, cost in self.costs.to_json().items()},
            "predictions": [prediction.to_json() for prediction in self.predictions],
        }
        path.write_text(json.dumps(stored, indent=1, ensure_ascii=False) + "\n")
