"""The calibration that is kept beside the code: what was measured where, how good the prediction was.

docs/capacity.md is made from it alone.
"""

import json
import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from benchmarks.capacity.costs import Costs
from benchmarks.capacity.figures import Figure

PATH: Final = Path(__file__).parent / "calibration.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """See the module."""

    measured: str
    """When, and on what."""
    costs: Costs
    figures: tuple[Figure, ...]

    @classmethod
    def of(cls, costs: Costs, figures: list[Figure]) -> Self:
        """Made here and now."""
        models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
        cpu = models[0].split(":", 1)[1].strip() if models else platform.machine()
        on = f"{os.cpu_count()} cores of {cpu}, Linux {platform.release()}, Python {platform.python_version()}"
        return cls(measured=f"{time.strftime('%Y-%m-%d')}, {on}", costs=costs, figures=tuple(figures))

    @classmethod
    def read(cls, path: Path = PATH) -> Self:
        """The one that is kept; raises `ValueError` if it is of another version."""
        kept = json.loads(path.read_text())
        figures = tuple(Figure(**{**each, "measured": tuple(each["measured"])}) for each in kept["figures"])
        return cls(measured=kept["measured"], costs=Costs.from_json(kept["costs"]), figures=figures)

    def write(self, path: Path = PATH) -> None:
        """Keep this one from now on."""
        kept = {
            "measured": self.measured,
            "costs": {name: round(figure, 3) for name, figure in self.costs.to_json().items()},
            "figures": [each.to_json() for each in self.figures],
        }
        path.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
