"""The master key of encrypted channels: `TELLTALE["PUSHER_MASTER_KEY"]`, 32 bytes in base64.

Each channel's key is the SHA-256 of its name and the master key. The service knows neither.
"""

import base64
import binascii
import hashlib
from typing import Final

from django.core.exceptions import ImproperlyConfigured

KEY_BYTES: Final = 32

HINT: Final = (
    'Make one by: python -c "import base64, secrets; print(base64.b64encode(secrets.token_bytes(32)).decode())".'
)


def read_master_key(text: str) -> bytes:
    """Return the key; raises `ImproperlyConfigured`, without the key in its text."""
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ImproperlyConfigured(f"TELLTALE['PUSHER_MASTER_KEY'] is not base64: {error}. {HINT}") from error
    if len(key) != KEY_BYTES:
        raise ImproperlyConfigured(f"TELLTALE['PUSHER_MASTER_KEY'] has {len(key)} bytes, not {KEY_BYTES}. {HINT}")
    return key


def shared_secret(channel: str, master_key: bytes) -> str:
    """Return the key of an encrypted channel, in base64, for a page that may subscribe to it."""
    return base64.b64encode(hashlib.sha256(channel.encode() + master_key).digest()).decode()
