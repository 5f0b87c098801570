"""Signatures: HMAC-SHA256 with the app's secret, in hexadecimal. All comparisons take constant time.

An app's key is public; whoever knows its secret may do everything in that app.
"""

import hashlib
import hmac
from collections.abc import Iterable
from typing import Final

HTTP_AUTH_VERSION: Final = "1.0"

CLOCK_TOLERANCE_S: Final = 600.0
"""A request to the HTTP API is valid for this long before and after its timestamp."""


def sign(secret: str, text: str) -> str:
    """Return the signature of `text`."""
    return hmac.new(secret.encode(), text.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


def is_signature(secret: str, text: str, signature: object) -> bool:
    """Whether `signature` is that of `text`; takes the same time for every wrong one."""
    expected = sign(secret, text)
    given = signature if isinstance(signature, str) else ""
    return hmac.compare_digest(expected.encode(), given.encode("utf-8", "surrogatepass"))


def subscription_text(socket_id: str, channel: str, channel_data: str | None) -> str:
    """Return the text that a subscription's signature signs; `channel_data` exactly as it was received."""
    return f"{socket_id}:{channel}" if channel_data is None else f"{socket_id}:{channel}:{channel_data}"


def sign_in_text(socket_id: str, user_data: str) -> str:
    """Return the text that a user's sign-in signs; `user_data` exactly as it was received."""
    return f"{socket_id}::user::{user_data}"


def auth_token(key: str, secret: str, text: str) -> str:
    """Return `KEY:SIGNATURE`, as a site's auth endpoint answers."""
    return f"{key}:{sign(secret, text)}"


def is_auth_token(key: str, secret: str, text: str, token: object) -> bool:
    """Whether `token` is this app's token for `text`; the halves are compared in constant time."""
    given_key, _, signature = token.partition(":") if isinstance(token, str) else ("", "", "")
    is_key = hmac.compare_digest(given_key.encode("utf-8", "surrogatepass"), key.encode())
    return is_signature(secret, text, signature) and is_key


def request_text(method: str, path: str, parameters: Iterable[tuple[str, str]]) -> str:
    """Return the text that a request to the HTTP API signs.

    `parameters`: those of the query, decoded once; `auth_signature` is left out here.
    """
    signed = sorted((name.lower(), value) for name, value in parameters if name != "auth_signature")
    query = "&".join(f"{name}={value}" for name, value in signed)
    return f"{method.upper()}\n{path}\n{query}"


def body_md5(body: bytes) -> str:
    """Return the digest of a body that a request's query names; it is part of what is signed."""
    return hashlib.md5(body, usedforsecurity=False).hexdigest()
