"""Compiles the two programs in C, the floor and the load, where they are older than their source."""

import os
import subprocess
from pathlib import Path
from typing import Final

SOURCE: Final = Path(__file__).parent / "native"
COMPILER: Final = os.environ.get("CC", "cc")
BUILT: Final = Path("var/bench/bin")

PARTS: Final = {
    "floor": ["floor.c"],
    "load": ["load.c", "followers.c", "feed.c", "figures.c"],
}


def built(program: str) -> Path:
    """The path of a program of `PARTS`, compiled now if it must be."""
    target = BUILT.absolute() / program
    newest = max(file.stat().st_mtime for file in SOURCE.iterdir())
    if target.exists() and target.stat().st_mtime > newest:
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    sources = [str(SOURCE / part) for part in PARTS[program]]
    subprocess.run([COMPILER, "-O2", "-Wall", "-Wextra", "-Werror", "-o", str(target), *sources], check=True)
    return target
