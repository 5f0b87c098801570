"""Where the benchmarks read and write. All files that outlive a run are in `var/bench/`, except with `--keep` and
`--write-docs`, which update files of the repository."""

from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
DOCS: Final = ROOT / "docs"
RECORDS: Final = ROOT / "var" / "bench"
