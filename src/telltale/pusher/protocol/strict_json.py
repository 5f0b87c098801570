"""JSON as the standard has it: what is read here can be sent on, and JavaScript parses it.

Python's parser also accepts NaN and Infinity, and turns 1e999 into infinity; JavaScript refuses the text of both.
"""

import json
import math
from typing import Any, NoReturn


class InvalidJson(ValueError):
    """The text is no JSON."""


def decode(text: str) -> Any:
    """Return the value of a JSON text; raises `InvalidJson`."""
    try:
        return _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        raise InvalidJson("The text is not valid JSON.") from error


def byte_count(value: object) -> int:
    """Return the size of a decoded value as compact JSON in UTF-8."""
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass"))


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not valid JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is too large a number")
    return number


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)
