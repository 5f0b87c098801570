"""A task's arguments as its row holds them, so that a person can retry the task.

Some databases can't hold each JSON: PostgreSQL's `jsonb` takes neither NUL nor half of a surrogate pair. Arguments with
such characters are kept as the text of their JSON, which is plain ASCII.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

_TEXT: Final = "json"
"""The key of arguments that are kept as text: [args, kwargs]."""


def call_to_json(args: Sequence[Any] | None, kwargs: Mapping[str, Any] | None) -> dict[str, Any]:
    """The value of the column `call`. `args=None`: the arguments can't be stored, so the task can't be retried."""
    if args is None:
        return {"args": None, "kwargs": {}}
    plain = {"args": list(args), "kwargs": dict(kwargs or {})}
    if _is_storable(plain):
        return plain
    return {"args": None, "kwargs": {}, _TEXT: json.dumps([plain["args"], plain["kwargs"]])}


def call_arguments(call: Mapping[str, Any]) -> tuple[Sequence[Any], Mapping[str, Any]] | None:
    """The arguments in a row's `call`; None if they were not stored."""
    if _TEXT in call:
        args, kwargs = json.loads(call[_TEXT])
        return args, kwargs
    args = call.get("args")
    return None if args is None else (args, call.get("kwargs") or {})


def _is_storable(value: object) -> bool:
    try:
        text = json.dumps(value, ensure_ascii=False)
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\\u0000" not in text


def storable_key(key: str) -> str:
    """The key, with escapes for the characters that a database can't hold: NUL and halves of surrogate pairs."""
    if "\0" not in key and key.isprintable():
        return key
    return key.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
