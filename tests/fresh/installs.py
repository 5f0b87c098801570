"""The documented `pip install` lines, and environments that hold only what such a line installs."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.servers import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BUILD = "from hatchling.build import build_wheel; import sys; print(build_wheel(sys.argv[1]))"


def documented() -> dict[str, list[str]]:
    """Return what the documentation installs, as the words after `pip install`, and the pages that say so."""
    found: dict[str, list[str]] = {}
    for page in PAGES:
        for line in _lines(page.read_text(encoding="utf-8")):
            found.setdefault(line, []).append(str(page.relative_to(ROOT)))
    return found


def _lines(text: str) -> Iterator[str]:
    for line in re.findall(r"pip install ([^`#\n]+)", text):
        words = shlex.split(line)
        if any(word.startswith("django-telltale") for word in words):
            yield " ".join(words)


def build_wheel(directory: Path) -> Path:
    """Build the wheel of this checkout."""
    command = [sys.executable, "-c", BUILD, str(directory)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return directory / built.stdout.split()[-1]


class Environment:
    """A virtual environment with nothing but the packages of one line."""

    def __init__(self, directory: Path, line: str, wheel: Path) -> None:
        self._bin = directory / "bin"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(directory)], check=True)
        words = [
            re.sub(r"^django-telltale(\[.*\])?$", rf"django-telltale\1 @ {wheel.as_uri()}", w) for w in line.split()
        ]
        self._pip("install", "--quiet", "--no-compile", *words)

    def _pip(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "pip", "--python", str(self._bin / "python"), *arguments]
        finished = subprocess.run(command, capture_output=True, text=True)
        assert finished.returncode == 0, finished.stderr

    def command(self, line: str) -> Sequence[str]:
        """Return the words of a documented command, with its program in this environment."""
        program, *arguments = shlex.split(line)
        return [str(self._bin / program), *arguments]

    def variables(self) -> dict[str, str]:
        """Return the variables of a shell in which this environment is active."""
        foreign = ("PYTEST_", "PYTHON", "TELLTALE_", "DJANGO_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        return {**kept, "PATH": f"{self._bin}{os.pathsep}{os.environ['PATH']}", "PYTHONUNBUFFERED": "1"}
