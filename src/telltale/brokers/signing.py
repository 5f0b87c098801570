"""Signed messages, for brokers that other programs may share: who can publish there is not therefore this site.

The signature is an HMAC by a key that depends on SECRET_KEY; SECRET_KEY_FALLBACKS are accepted too. It stands at the
end of a body's first line, where a version that knows no signatures reads it as a topic that nothing follows. A
message without a valid signature is counted and skipped. A repetition of a signed message is not noticed: brokers may
repeat messages anyway.
"""

import asyncio
import hmac
import time
from collections.abc import Callable, Sequence
from typing import Final

from django.conf import settings as django_settings
from django.utils.crypto import salted_hmac

from telltale.brokers.base import Broker, Deliver, EventLoopBroker, Listener, Message, Missed
from telltale.brokers.delivery import LossCounter

MARK: Final = b" ~"
"""Between a body's first line and its signature."""

SIGNATURE_BYTES: Final = 16
"""Of the HMAC, which is cut to 128 bits and written in hexadecimal."""

SIGNED_BYTES: Final = len(MARK) + 2 * SIGNATURE_BYTES
"""How much longer a message becomes."""

rejected: Final = LossCounter(
    "%d messages of the broker were skipped, because they have no valid signature of this site. Does another program "
    "publish on its channels, or has a process another SECRET_KEY or SIGN_MESSAGES? See docs/brokers.md."
)
"""Messages that were unsigned or wrongly signed."""


class Verified(bytes):
    """The body of a message whose signature was verified: this site has published it."""

    __slots__ = ()


class Signer:
    """Signs by the first key, verifies by all."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = tuple(keys)

    def sign(self, body: bytes) -> bytes:
        """Return the body with a signature."""
        first, newline, rest = body.partition(b"\n")
        return b"".join((first, MARK, _signature(self._keys[0], body), newline, rest))

    def verify(self, signed: bytes, *, accept_unsigned: bool = False) -> bytes | None:
        """Return the body, `Verified` if this site has signed it; None if the signature is wrong or missing."""
        first, newline, rest = signed.partition(b"\n")
        first, mark, signature = first.rpartition(MARK)
        if not mark:
            return signed if accept_unsigned else None
        body = b"".join((first, newline, rest))
        is_ours = any(hmac.compare_digest(_signature(key, body), signature) for key in self._keys)
        return Verified(body) if is_ours else None


def _signature(key: bytes, body: bytes) -> bytes:
    return hmac.digest(key, body, "sha256")[:SIGNATURE_BYTES].hex().encode()


def site_signer() -> Signer:
    """The signer of this site, by its secret keys."""
    secrets = (django_settings.SECRET_KEY, *django_settings.SECRET_KEY_FALLBACKS)
    return Signer(
        [salted_hmac("telltale.brokers.signing", "", secret=secret, algorithm="sha256").digest() for secret in secrets]
    )


class SignedBroker:
    """Signs what is published by another broker, and delivers only what this site has signed."""

    def __init__(self, broker: Broker, signer: Signer, *, accept_unsigned: bool = False) -> None:
        self.broker, self.reach = broker, broker.reach
        self._signer, self._accept_unsigned = signer, accept_unsigned

    def publish(self, messages: Sequence[Message]) -> None:
        """See `Broker`."""
        self.broker.publish([Message(message.topics, self._signer.sign(message.body)) for message in messages])

    def listen(self, deliver: Deliver, missed: Missed) -> Listener:
        """See `Broker`."""
        return self.broker.listen(self._verifying(deliver), missed)

    def close(self) -> None:
        """See `Broker`."""
        self.broker.close()

    def _verifying(self, deliver: Deliver) -> Callable[[Sequence[bytes]], None]:
        def verify_and_deliver(messages: Sequence[bytes]) -> None:
            bodies = [self._signer.verify(message, accept_unsigned=self._accept_unsigned) for message in messages]
            valid = [body for body in bodies if body is not None]
            if len(valid) < len(bodies):
                rejected.add(len(bodies) - len(valid), now=time.monotonic())
            if valid:
                deliver(valid)

        return verify_and_deliver


class SignedLoopBroker(SignedBroker):
    """A signed broker whose listener can run on an event loop."""

    def listen_on(self, loop: asyncio.AbstractEventLoop, deliver: Deliver, missed: Missed) -> Listener:
        """See `EventLoopBroker`."""
        assert isinstance(self.broker, EventLoopBroker)  # noqa: S101 (so it was chosen in `signed`)
        return self.broker.listen_on(loop, self._verifying(deliver), missed)


def signed(broker: Broker, *, accept_unsigned: bool = False) -> Broker:
    """Return a broker that signs the messages of `broker` by the site's key."""
    signed_class = SignedLoopBroker if isinstance(broker, EventLoopBroker) else SignedBroker
    return signed_class(broker, site_signer(), accept_unsigned=accept_unsigned)
