"""How messages share a datagram: a mark of the format, then each message behind its length.

Bundles, because the kernel queues datagrams by number, not by size: a tick of the reporter costs one place.
"""

import struct
from collections.abc import Iterable, Iterator
from typing import Final

MARK: Final = b"telltale1\n"
"""Begins every bundle: processes of another version, during a deployment, do not misread each other."""

BUNDLE_BYTES: Final = 200_000
"""Upper bound of one bundle; kernels take some 208 KiB in one datagram without being tuned."""

_LENGTH: Final = struct.Struct(">I")


class NotABundle(ValueError):
    """A datagram of another version, or cut short."""


def bundled(messages: Iterable[bytes]) -> Iterator[bytes]:
    """`messages`, each well below the bound, in as few bundles as they fit into, in their order."""
    parts, size = [MARK], len(MARK)
    for message in messages:
        if size + _LENGTH.size + len(message) > BUNDLE_BYTES:
            yield b"".join(parts)
            parts, size = [MARK], len(MARK)
        parts += (_LENGTH.pack(len(message)), message)
        size += _LENGTH.size + len(message)
    if len(parts) > 1:
        yield b"".join(parts)


def unbundled(bundle: bytes) -> list[bytes]:
    """The messages of one bundle; raises `NotABundle` for anything else."""
    if not bundle.startswith(MARK):
        raise NotABundle(f"A datagram begins with {bundle[: len(MARK)]!r}, not {MARK!r}.")
    messages, at = [], len(MARK)
    while at < len(bundle):
        begins = at + _LENGTH.size
        if begins > len(bundle):
            raise NotABundle("A datagram ends within a length.")
        at = begins + _LENGTH.unpack_from(bundle, begins - _LENGTH.size)[0]
        if at > len(bundle):
            raise NotABundle("A datagram ends within a message.")
        messages.append(bundle[begins:at])
    return messages
