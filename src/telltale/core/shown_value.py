"""The text of any value, for errors and logs: an object of a site may be one that can't be converted."""

from typing import Any


def shown_value(value: Any) -> str:
    """Return the beginning of its `repr`; its type, if it has none."""
    try:
        return f"{value!r:.80}"
    except Exception:
        return f"an object of type {type(value).__name__}"
