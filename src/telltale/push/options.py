"""The setting `PUSH`, and the pair of keys by which push services know the site (VAPID)."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from telltale import conf
from telltale.core.push import SERVICES, from_base64url

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

KEYS: Final = ("VAPID_PRIVATE_KEY", "VAPID_SUBJECT", "AFTER_S", "SERVICES")

AFTER_S: Final = 10.0
"""How long a notice waits for a page before it is pushed. A page in sight takes it within a second."""

SCALAR_BYTES: Final = 32
"""A private key of the curve P-256."""

INSTALL: Final = "pip install django-telltale[push]"

SUBJECT_HINT: Final = (
    'Use "mailto:you@example.com", or an https address: with a domain that has a dot. A push service reaches you by it.'
)


class WrongKey(ValueError):
    """`VAPID_PRIVATE_KEY` is no private key."""


class WrongSubject(ValueError):
    """`VAPID_SUBJECT` is no address by which a push service could reach the site."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PushOptions:
    """`TELLTALE["PUSH"]` with defaults filled in."""

    private_key: str
    """32 bytes in base64url."""
    subject: str
    """How a push service reaches the site's operator: "mailto:…" or "https://…". py_vapid refuses others, and names
    without a dot, such as "mailto:you@intranet"."""
    after_s: float
    services: tuple[str, ...]
    """Push services to which the site sends, as `core.push.is_at_service` takes them."""

    @property
    def public_key(self) -> str:
        """The key that browsers get, in base64url. Raises `WrongKey`, and `ImportError` without `cryptography`."""
        return public_key_of(self.private_key)


def options() -> PushOptions | None:
    """Return the settings; None without web push."""
    given = conf.settings().push
    if not given or not given.get("VAPID_PRIVATE_KEY"):
        return None
    return read(given)


def read(given: Mapping[str, Any]) -> PushOptions:
    """Return the values of the dict `PUSH`; the system check reports wrong ones."""
    return PushOptions(
        private_key=str(given.get("VAPID_PRIVATE_KEY", "")),
        subject=str(given.get("VAPID_SUBJECT", "")),
        after_s=float(given.get("AFTER_S", AFTER_S)),
        services=tuple(given.get("SERVICES", SERVICES)),
    )


@cache
def public_key_of(private_key: str) -> str:
    """Return the public key of a private one, both in base64url. Raises as `PushOptions.public_key`."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    point = key_object(private_key).public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return _encoded(point)


@cache
def key_object(private_key: str) -> "EllipticCurvePrivateKey":
    """Return the key as an object of `cryptography`. Raises as `PushOptions.public_key`."""
    from cryptography.hazmat.primitives.asymmetric import ec

    scalar = from_base64url(private_key)
    try:
        if len(scalar) != SCALAR_BYTES:
            raise ValueError(f"It has {len(scalar)} bytes.")
        return ec.derive_private_key(int.from_bytes(scalar, "big"), ec.SECP256R1())
    except ValueError as error:
        # The error must not show the key.
        raise WrongKey("It is not 32 bytes in base64url that are a private key of the curve P-256.") from error


def new_private_key() -> str:
    """Return a new private key. Raises `ImportError` without `cryptography`."""
    from cryptography.hazmat.primitives.asymmetric import ec

    scalar = ec.generate_private_key(ec.SECP256R1()).private_numbers().private_value
    return _encoded(scalar.to_bytes(SCALAR_BYTES, "big"))


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
