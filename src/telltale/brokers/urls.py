"""Brokers' addresses as they may be shown: an address can hold a password, and errors end up in logs.

Knows no scheme. Used by whoever quotes an address.
"""

import re
from typing import Final
from urllib.parse import SplitResult

from django.core.exceptions import ImproperlyConfigured

_SECRETS: Final = re.compile(r"(?<=[?&])([a-z_]*(?:password|secret|token|key))=[^&]*", re.IGNORECASE)


def shown(url: str) -> str:
    """`url` without what stands before its last @, where user and password are, and without options named so."""
    scheme, separator, rest = url.partition("://")
    # The last @, wherever it is: a password with an unescaped slash, ? or # would look like a path otherwise.
    before, at, after = rest.rpartition("@")
    hidden = f"{scheme}{separator}{'***' if before else ''}{at}{after}"
    return _SECRETS.sub(r"\1=***", hidden)


def refuse_parts(url: SplitResult, form: str) -> None:
    """Raise `ImproperlyConfigured` unless `url` is its scheme alone: what is ignored silently is misunderstood."""
    if url.netloc or url.path or url.query or url.fragment:
        raise ImproperlyConfigured(f"TELLTALE['BROKER'] is {url.geturl()!r}: write {form}, which takes nothing more.")
