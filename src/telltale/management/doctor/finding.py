"""A finding: what is wrong, why it matters, and what to set."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong."""

    id: str
    """A name for programs, such as "broker-unreachable"; docs/doctor.md lists all."""
    found: str
    """What is wrong, as sentences."""
    why: str
    """Why it matters, as sentences."""
    setting: str
    """What to change: the exact setting, or the command to run."""

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


Examination = Callable[[], Iterator[Finding]]
"""Examines one part of the set-up. May raise any error, which becomes a finding of its own."""


def failed(part: str, error: Exception) -> Finding:
    """Return the finding for an examination that raised `error`. `part`: what it examines, such as "broker"."""
    return Finding(
        id=f"{part}-failed",
        found=f"The examination of the {part} failed: {type(error).__name__}: {error}",
        why="Nothing else is known of this part.",
        setting="Correct what the error names, and run the doctor again.",
    )
