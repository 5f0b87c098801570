"""Brokers' addresses as they may be shown: an address can hold a password, and errors end up in logs.

Knows no scheme. Used by whoever quotes an address.
"""

import re
from typing import Final

_SECRETS: Final = re.compile(r"(?<=[?&])([a-z_]*(?:password|secret|token|key))=[^&]*", re.IGNORECASE)


def shown(url: str) -> str:
    """`url` without what stands before its last @, where user and password are, and without options named so."""
    scheme, separator, rest = url.partition("://")
    # The last @, wherever it is: a password with an unescaped slash, ? or # would look like a path otherwise.
    before, at, after = rest.rpartition("@")
    hidden = f"{scheme}{separator}{'***' if before else ''}{at}{after}"
    return _SECRETS.sub(r"\1=***", hidden)
