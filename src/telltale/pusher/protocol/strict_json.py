"""JSON as the standard has it: what is read here can be sent on, and JavaScript parses it.

Python's parser also accepts NaN and Infinity, and turns 1e999 into infinity; JavaScript refuses the text of both. And
it reads values that are nested so deeply that they can't be written again.
"""

import json
import math
from typing import Any, Final, NoReturn

MAX_DEPTH: Final = 200
"""Lists and objects within each other; a value that is nested more deeply is refused."""


_CONTAINERS: Final = (list, dict)


class InvalidJson(ValueError):
    """The text is no JSON."""


def decode(text: str) -> Any:
    """Return the value of a JSON text; raises `InvalidJson`."""
    try:
        value = _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        raise InvalidJson("The text is not valid JSON.") from error
    if text.count("[") + text.count("{") > MAX_DEPTH and _is_too_deep(value):
        raise InvalidJson(f"The text has more than {MAX_DEPTH} lists and objects within each other.")
    return value


def byte_count(value: object) -> int:
    """Return the size of a decoded value as compact JSON in UTF-8."""
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass"))


def _is_too_deep(value: object) -> bool:
    containers = [value] if isinstance(value, _CONTAINERS) else []
    for _ in range(MAX_DEPTH):
        containers = [
            inner
            for outer in containers
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if inner and isinstance(inner, _CONTAINERS)
        ]
        if not containers:
            return False
    return True


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not valid JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is too large a number")
    return number


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)
