"""Figures that a task sets and that can't be shown, such as text, NaN or a negative number: logged with the mend.

Once for each task name and attribute, because a task sets its figures again and again. The reporter calls this.
"""

import logging
from typing import Any, Final

from telltale.core.progress import number
from telltale.worker.tracker import RawValues

logger = logging.getLogger(__name__)

MAX_LOGGED: Final = 1_000
"""How many pairs of names are remembered; beyond that, nothing is logged."""

_logged: set[tuple[str, str]] = set()


def log_unusable_figures(task_name: str, raw_values: RawValues) -> None:
    """Log those of `current` and `total` that are set and are no number that can be shown."""
    _stage_changes, current, total, *_rest = raw_values
    for attribute, value in (("current", current), ("total", total)):
        if value is not None and number(value) is None:
            _log_once(task_name, attribute, value)


def _log_once(task_name: str, attribute: str, value: Any) -> None:
    if (task_name, attribute) in _logged or len(_logged) >= MAX_LOGGED:
        return
    _logged.add((task_name, attribute))
    logger.warning(
        "The task %s sets %s to %s, which can't be shown: give a number from 0 to 1e15, such as float(value), or None "
        "while it is unknown.",
        task_name,
        attribute,
        _shown(value),
    )


def _shown(value: Any) -> str:
    try:
        return f"{value!r:.80}"
    except Exception:
        return f"an object of type {type(value).__name__}"
