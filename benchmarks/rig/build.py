"""Compiles the two C programs, the baseline server and the load generator, when they are older than their source."""

import os
import subprocess
from pathlib import Path
from typing import Final

from benchmarks.rig.paths import RECORDS

SOURCE: Final = Path(__file__).parent / "native"
COMPILER: Final = os.environ.get("CC", "cc")
BUILT: Final = RECORDS / "bin"

PROGRAMS: Final = {
    "baseline": ["baseline.c"],
    "load": ["load.c", "followers.c", "feed.c", "figures.c"],
}
"""The source files of each program."""


def built(program: str) -> Path:
    """The path of a program of `PROGRAMS`, which is compiled first if it is missing or older than its source."""
    target = BUILT / program
    newest_change = max(file.stat().st_mtime for file in SOURCE.iterdir())
    if target.exists() and target.stat().st_mtime > newest_change:
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    sources = [str(SOURCE / name) for name in PROGRAMS[program]]
    subprocess.run([COMPILER, "-O2", "-Wall", "-Wextra", "-Werror", "-o", str(target), *sources], check=True)
    return target
