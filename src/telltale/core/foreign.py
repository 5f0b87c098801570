"""Which envelopes of a foreign publisher may be passed on to browsers: those that our own code could have made.

A web process passes an envelope's text on as it is. So a text of another program must be one JSON value of the right
types, must say what the envelope's head says, and must be readable by browsers. Signed envelopes need no such check.
"""

import json
from collections.abc import Mapping
from math import isinf
from typing import Any, Final

from telltale.core.snapshot import MAX_BORDERS
from telltale.core.states import State
from telltale.core.wire import LEVELS, Envelope, Kind, Malformed

LARGEST_INTEGER: Final = 2**53 - 1
"""Browsers know larger ones only approximately."""

MAX_DEPTH: Final = 50
"""Lists and objects within each other."""

_TEXT, _NUMBER, _INTEGER, _FLAG = (str,), (int, float), (int,), (bool,)

_SNAPSHOT: Final[Mapping[str, tuple[type, ...]]] = {
    **dict.fromkeys(("id", "name", "label"), _TEXT),
    **dict.fromkeys(("error", "reference", "result", "no_cancel"), (*_TEXT, type(None))),
    **dict.fromkeys(("has_return_value", "cancel_requested", "ended"), _FLAG),
    **dict.fromkeys(("attempt", "seq"), _INTEGER),
    "created_at": _NUMBER,
    **dict.fromkeys(
        ("started_at", "moved_at", "beat_at", "ended_at", "due_at", "missing_since", "remaining_s", "remaining_spread"),
        (*_NUMBER, type(None)),
    ),
    "ahead": (*_INTEGER, type(None)),
    "is_listening": (*_FLAG, type(None)),
    "state": _TEXT,
    "progress": (dict,),
    "usual_s": (list, type(None)),
}
_PROGRESS: Final[Mapping[str, tuple[type, ...]]] = {
    **dict.fromkeys(("fraction", "current", "total"), (*_NUMBER, type(None))),
    **dict.fromkeys(("unit", "message", "stage"), _TEXT),
    "step": _INTEGER,
    "steps": (*_INTEGER, type(None)),
    "borders": (list,),
}
_NOTICE: Final[Mapping[str, tuple[type, ...]]] = {
    **dict.fromkeys(("id", "topic", "level", "text"), _TEXT),
    **dict.fromkeys(("url", "task"), (*_TEXT, type(None))),
    "created_at": _NUMBER,
}


def check_foreign(envelope: Envelope) -> None:
    """Raise `Malformed` unless our own code could have made this envelope, which was read from bytes."""
    if envelope.kind is Kind.CANCEL:
        return
    data = _loads(envelope.text)
    if envelope.kind is Kind.SNAPSHOT:
        _check_snapshot(envelope, data)
    elif envelope.kind is Kind.NOTICE:
        _check_types(data, _NOTICE, required=_NOTICE.keys() - {"url", "task", "created_at"})
        if data["id"] != envelope.about or data["level"] not in LEVELS or (data["topic"],) != envelope.topics:
            raise Malformed("A notice differs from its head, or has an unknown level.")
    elif data.keys() != {"topic", "name", "data"} or not isinstance(data["name"], str):
        raise Malformed("An event has other fields than it should.")
    elif (data["topic"],) != envelope.topics:
        raise Malformed("An event is not for the topic in its head.")


def _loads(text: str) -> dict[str, Any]:
    try:
        data = _decode(text)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"An envelope's text is no JSON that browsers can read: {error}.") from error
    if not isinstance(data, dict):
        raise Malformed(f"An envelope's text is a JSON object, not {type(data).__name__}.")
    if text.count("[") + text.count("{") > MAX_DEPTH and _depth(data) > MAX_DEPTH:
        raise Malformed(f"An envelope's text has more than {MAX_DEPTH} lists and objects within each other.")
    return data


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


_decode: Final = json.JSONDecoder(parse_constant=_refuse_constant).decode


def _depth(data: object) -> int:
    """How deep lists and objects are within each other; without recursion."""
    depth, level = 0, [data]
    while level:
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer if isinstance(outer, list) else ())
            if isinstance(inner, dict | list)
        ]
        depth += 1
    return depth


def _check_snapshot(envelope: Envelope, data: dict[str, Any]) -> None:
    _check_types(data, _SNAPSHOT, required={"id", "attempt", "seq", "state", "ended", "progress", "label"})
    _check_types(data["progress"], _PROGRESS, required=_PROGRESS.keys() - {"borders"})
    borders = data["progress"].get("borders", ())
    if len(borders) > MAX_BORDERS or not all(type(border) in _NUMBER and 0 < border < 1 for border in borders):
        raise Malformed(f"A snapshot's “borders” are at most {MAX_BORDERS} numbers between 0 and 1.")
    usual = data.get("usual_s")
    if usual is not None and not (len(usual) == 2 and all(type(number) in _NUMBER for number in usual)):
        raise Malformed("A snapshot's “usual_s” is a list of two numbers.")
    if data["state"] not in set(State) or data["ended"] is not State(data["state"]).ended:
        raise Malformed("A snapshot has an unknown state, or “ended” differs from it.")
    if data["id"] != envelope.about or (data["attempt"], data["ended"], data["seq"]) != envelope.order:
        raise Malformed("A snapshot differs from its head.")
    if min(envelope.order[0], envelope.order[2]) < 0:
        raise Malformed("A snapshot has a negative number.")


def _check_types(data: Mapping[str, Any], types: Mapping[str, tuple[type, ...]], *, required: Any) -> None:
    if missing := set(required) - data.keys():
        raise Malformed(f"The field {min(missing)!r} is missing.")
    for name, value in data.items():
        allowed = types.get(name)
        # Exact types, because a bool is an int. Fields that only newer versions know are passed on.
        if allowed is not None and type(value) not in allowed:
            raise Malformed(f"The field {name!r} is {type(value).__name__}.")
        if (type(value) is int and abs(value) > LARGEST_INTEGER) or (type(value) is float and isinf(value)):
            raise Malformed(f"The field {name!r} is a larger number than browsers know.")
