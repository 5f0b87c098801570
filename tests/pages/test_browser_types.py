"""The types in the comments of the browser modules are those of the wire: the same keys, of the same types."""

import re
import types
import typing
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import pytest

import telltale
from telltale.core.snapshot import Progress, Snapshot
from telltale.core.wire import Event, Notice

SNAPSHOTS: Final = (Path(telltale.__file__).parent / "static/telltale/live/snapshots.js").read_text(encoding="utf-8")
PLAIN: Final = {str: "string", int: "number", float: "number", bool: "boolean", types.NoneType: "null"}


def type_of(hint: Any) -> str:
    """Return the type of a field's JSON in TypeScript."""
    if isinstance(hint, types.UnionType):
        return " | ".join(type_of(part) for part in typing.get_args(hint))
    if typing.get_origin(hint) is tuple:
        [item] = {type_of(part) for part in typing.get_args(hint) if part is not ...}
        return f"{item}[]"
    if hint is Any:
        return "any"
    if issubclass(hint, StrEnum):
        return "string"  # A newer server may have more.
    return PLAIN[hint] if hint in PLAIN else str(hint.__name__)


def on_the_wire(kind: type) -> dict[str, str]:
    return {name: type_of(hint) for name, hint in typing.get_type_hints(kind).items()}


def in_the_comment(name: str) -> dict[str, str]:
    """Return the keys of a type in the browser's modules; those that may be missing end in a question mark."""
    [body] = re.findall(rf"@typedef \{{\{{([^{{}}]*)\}}\}} {name}\b", SNAPSHOTS)
    parts = re.sub(r"\s*\n \* *", " ", body).split(",")
    return {key.strip(): value.strip() for key, _, value in (part.partition(":") for part in parts)}


@pytest.mark.parametrize(
    ("kind", "name", "changes"),
    [
        (Snapshot, "Snapshot", {"ended": "boolean"}),
        (Progress, "Progress", {"borders?": "number[]"}),
        (Notice, "Notice", {}),
        (Event, "TopicEvent", {}),
    ],
)
def test_a_type_of_the_browser_has_the_keys_and_types_of_the_wire(
    kind: type, name: str, changes: dict[str, str]
) -> None:
    expected = {**on_the_wire(kind), **changes}
    for key in changes:
        if key.endswith("?"):
            del expected[key.removesuffix("?")]
    assert in_the_comment(name) == expected
