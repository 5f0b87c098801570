"""The return value of a task that keeps it (`tracked(result=…)`), as JSON of a bounded size.

Nothing here raises: a value that can't be kept is left out, and the reason is logged once for each task and reason.
"""

import json
import logging
from collections.abc import Callable
from typing import Any, Final

from telltale.core.snapshot import RETURN_BYTES

logger = logging.getLogger(__name__)

_ENCODER: Final = json.JSONEncoder(allow_nan=False, separators=(",", ":"))

_logged: set[tuple[str, str]] = set()
"""The tasks, each with the kind of problem, that were logged."""


class _TooLarge(Exception):
    """The JSON has more than `RETURN_BYTES` bytes."""


def returned_json(value: Any, keep: bool | Callable[[Any], Any], name: str) -> str | None:
    """What a task returned, as JSON in ASCII; None if nothing is kept.

    `keep`: True for the value itself; a function that returns what to keep of it; False to keep nothing. `name`: the
    task's name, for the log.
    """
    if keep is False:
        return None
    try:
        return _encode(value if keep is True else keep(value))
    except _TooLarge:
        problem = f"its JSON has more than {RETURN_BYTES:,} bytes"
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"
        _log_once(name, type(error).__name__, problem)
        return None
    _log_once(name, "size", problem)
    return None


def _encode(value: Any) -> str:
    """Raise `_TooLarge` as soon as the limit is passed: a value of any size costs no more than that."""
    chunks, size = [], 0
    for chunk in _ENCODER.iterencode(value):
        size += len(chunk)
        if size > RETURN_BYTES:
            raise _TooLarge
        chunks.append(chunk)
    return "".join(chunks)


def _log_once(name: str, kind: str, problem: str) -> None:
    if (name, kind) in _logged:
        return
    _logged.add((name, kind))
    logger.warning(
        "The return value of %s is not kept (%.200s). Return plain JSON, or name what to keep of it: "
        "@telltale.tracked(result=lambda value: …). This is logged once.",
        name,
        problem,
    )
