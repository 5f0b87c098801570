"""The entries that processes report to each other about their own clients, and their form in messages.

An entry states how something is now and not how it changed, so a repeated entry does no harm. The entries of a process
are spread over `BUCKETS` buckets by a checksum of their keys: a process that missed changes asks for the buckets that
differ, and not for everything.
"""

import json
import sys
import zlib
from typing import Any, Final, NamedTuple, TypeAlias

BUCKETS: Final = 256

SOFT_BYTES: Final = 12_000
"""A message is full at this size: its last entry, with 1 KiB of a user's data, still fits into 16 KiB."""

COUNT: Final = "c"
"""Kind of entry: the number of subscriptions to a channel that is no presence channel."""

MEMBER: Final = "m"
"""Kind of entry: a member of a presence channel; the value is the user's info."""

USER: Final = "u"
"""Kind of entry: a signed-in user, who is online."""

Key: TypeAlias = tuple[str, str, str, str]
"""Kind, app's id, name of the channel or id of the signed-in user, id of the member or ""."""

ABSENT: Final = object()
"""In place of a value: there is no such entry."""

Entries: TypeAlias = list[tuple[Key, Any]]

Modification: TypeAlias = tuple[Key, Any, Any]
"""A key, its old value and its new value; `ABSENT` where there is none."""


class Page(NamedTuple):
    """A part of a bucket."""

    bucket: int
    version: int
    part: int
    """From 0."""
    parts: int
    entries: Entries


class BucketDelta(NamedTuple):
    """Changes of one bucket."""

    bucket: int
    previous: int
    """The bucket's version before them."""
    entries: Entries


class MalformedReport(ValueError):
    """A message of another process has another form than it should."""


READ_ERRORS: Final = (AttributeError, IndexError, KeyError, RecursionError, TypeError, ValueError)
"""Reading a message of another form raises one of these exceptions."""


def bucket_of(key: Key) -> int:
    """The bucket of a key, the same in every process."""
    return zlib.crc32("\n".join(key).encode("utf-8", "surrogatepass")) % BUCKETS


def set_entry(entries: dict[Key, Any], key: Key, value: Any) -> Modification:
    """Give the entry of a bucket this value; `ABSENT` removes it."""
    old = entries.get(key, ABSENT)
    if value is ABSENT:
        entries.pop(key, None)
    else:
        entries[key] = value
    return key, old, value


def encode(value: object) -> str:
    """Return compact JSON in ASCII, also for text that is no valid Unicode."""
    return json.dumps(value, separators=(",", ":"))


def encode_entry(key: Key, value: Any) -> str:
    """Return the JSON of an entry; `ABSENT` says that there is none any more."""
    return encode(key if value is ABSENT else (*key, value))


def read_delta(groups: dict[str, Any]) -> list[BucketDelta]:
    """Read {bucket: [previous version, entries]}; raises `ValueError` or `TypeError` for another form."""
    return [BucketDelta(_bucket(int(name)), int(group[0]), _entries(group[1])) for name, group in groups.items()]


def read_pages(pages: list[Any]) -> list[Page]:
    """Read [[bucket, version, part, parts, entries], …]; raises `ValueError` or `TypeError` for another form."""
    return [
        Page(_bucket(bucket), int(version), int(part), int(parts), _entries(entries))
        for bucket, version, part, parts, entries in pages
    ]


def _bucket(number: int) -> int:
    if not 0 <= number < BUCKETS:
        raise ValueError(f"A bucket is {number}.")
    return number


def _entries(entries: list[Any]) -> Entries:
    return [_entry(entry) for entry in entries]


def _entry(entry: list[Any]) -> tuple[Key, Any]:
    kind, app_id, name, user_id, *values = entry
    if not all(isinstance(part, str) for part in (kind, app_id, name, user_id)) or len(values) > 1:
        raise ValueError(f"An entry is {entry!r:.80}.")
    if kind == COUNT and values and not (isinstance(values[0], int) and values[0] > 0):
        raise ValueError(f"A count is {values[0]!r:.80}.")
    # Many members share the names of kind, app and channel: one copy of each is kept.
    return (sys.intern(kind), sys.intern(app_id), sys.intern(name), user_id), values[0] if values else ABSENT
