"""The records of earlier versions, by their numbers."""

import json
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).parent
VERSIONS: Final = sorted(path.name for path in FOLDER.iterdir() if path.is_dir() and (path / "frames.json").exists())

HELP: Final = (
    "A process of an earlier version meets this one during a rolling upgrade. If that version is not released yet: "
    "python -m tests.upgrade.record VERSION --again"
)


def frozen(version: str, name: str) -> Any:
    """Return one file of the record."""
    return json.loads((FOLDER / version / f"{name}.json").read_text(encoding="utf-8"))


def differences(old: Any, new: Any, path: str = "") -> list[str]:
    """What a reader of `old` would miss in `new`: keys that are gone, and values of another type.

    New keys are no difference, because readers ignore them. None stands for any type: it was not known then.
    """
    if old is None or new is None:
        return []
    if isinstance(old, dict) and isinstance(new, dict):
        gone = [f"{path}.{name} is gone" for name in old if name not in new]
        kept = [name for name in old if name in new]
        return gone + [line for name in kept for line in differences(old[name], new[name], f"{path}.{name}")]
    if isinstance(old, list) and isinstance(new, list):
        return [line for a, b in zip(old, new, strict=False) for line in differences(a, b, f"{path}[]")]
    same = type(old) is type(new) or {type(old), type(new)} == {int, float}
    return [] if same else [f"{path} was {type(old).__name__}, and is {type(new).__name__}"]
