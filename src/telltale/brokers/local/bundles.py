"""The format of datagrams: a bundle is `MAGIC`, then each message after its length.

Messages are bundled because the kernel limits the number of queued datagrams, not their size.
"""

import struct
from collections.abc import Iterable, Iterator
from typing import Final

MAGIC: Final = b"telltale1\n"
"""The first bytes of every bundle: a process of another version, during a deployment, must not misread it."""

BUNDLE_BYTES: Final = 200_000
"""The largest bundle; kernels take some 208 KiB in one datagram by default."""

_LENGTH: Final = struct.Struct(">I")


class InvalidBundle(ValueError):
    """A datagram of another version, or a truncated one."""


def pack_bundles(messages: Iterable[bytes]) -> Iterator[bytes]:
    """Pack `messages`, in order, into as few bundles as possible; each message is much smaller than a bundle."""
    parts, size = [MAGIC], len(MAGIC)
    for message in messages:
        if size + _LENGTH.size + len(message) > BUNDLE_BYTES:
            yield b"".join(parts)
            parts, size = [MAGIC], len(MAGIC)
        parts += (_LENGTH.pack(len(message)), message)
        size += _LENGTH.size + len(message)
    if len(parts) > 1:
        yield b"".join(parts)


def unpack_bundle(bundle: bytes) -> list[bytes]:
    """The messages of one bundle; raises `InvalidBundle`."""
    if not bundle.startswith(MAGIC):
        raise InvalidBundle(f"A datagram begins with {bundle[: len(MAGIC)]!r}, not {MAGIC!r}.")
    messages, position = [], len(MAGIC)
    while position < len(bundle):
        start = position + _LENGTH.size
        if start > len(bundle):
            raise InvalidBundle("A datagram ends within a length.")
        position = start + _LENGTH.unpack_from(bundle, position)[0]
        if position > len(bundle):
            raise InvalidBundle("A datagram ends within a message.")
        messages.append(bundle[start:position])
    return messages
