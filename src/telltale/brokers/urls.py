"""Help for `TELLTALE["BROKER"]` URLs: hide secrets before a URL is shown, and refuse parts that a scheme ignores.

Knows no scheme. A URL can hold a password, and error messages end up in logs.
"""

import re
from typing import Final
from urllib.parse import SplitResult

from django.core.exceptions import ImproperlyConfigured

_SECRETS: Final = re.compile(r"(?<=[?&])([a-z_]*(?:password|secret|token|key)|and)=[^&]*", re.IGNORECASE)


def redact(url: str) -> str:
    """`url` with *** in place of user and password (all before the last @) and of options that hold secrets.

    `and` is an option of `pusher://`: the URL of another broker.
    """
    scheme, separator, rest = url.partition("://")
    # The last @, wherever it is: a password with an unescaped slash, ? or # would look like a path otherwise.
    credentials, at_sign, location = rest.rpartition("@")
    redacted = f"{scheme}{separator}{'***' if credentials else ''}{at_sign}{location}"
    return _SECRETS.sub(r"\1=***", redacted)


def require_scheme_only(url: SplitResult, form: str) -> None:
    """Raise `ImproperlyConfigured` unless `url` is its scheme alone: a silently ignored part would mislead."""
    if url.netloc or url.path or url.query or url.fragment:
        raise ImproperlyConfigured(
            f"TELLTALE['BROKER'] is {redact(url.geturl())!r}: write {form}, which takes nothing more."
        )
