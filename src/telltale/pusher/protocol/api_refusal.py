"""A refused request to the HTTP API: the status and the text of its answer."""

import json
from typing import Final

SHOWN: Final = 80
"""A text of an answer shows this many characters of a value that the client sent."""


class ApiRefusal(Exception):
    """The request is refused. `text` names the value, the rule and the fix; it never holds a secret or a digest."""

    def __init__(self, status: int, text: str, *, allowed_methods: str = "") -> None:
        super().__init__(text)
        self.status, self.text = status, text
        self.allowed_methods = allowed_methods
        """With status 405: the methods of this address, as in the header `Allow`."""


def shown(value: object) -> str:
    """Return a value as JSON, shortened, for the text of a refusal."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except RecursionError:
        return "a deeply nested value"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
