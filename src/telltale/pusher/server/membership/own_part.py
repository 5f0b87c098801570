"""What this process reports of its own clients to the other processes of the site. Pure.

Each message with changes has the next number. The version of a bucket is the number of the last message that changed
it. The sum of all versions only grows, so another process that has the same sum has the same entries.
"""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from telltale.pusher.server.membership.entries import (
    ABSENT,
    BUCKETS,
    SOFT_BYTES,
    Key,
    Modification,
    bucket_of,
    encode_entry,
    set_entry,
)


class OwnPart:
    """The entries of this process, and those that it has not told the others yet. Each change costs O(1)."""

    def __init__(self) -> None:
        self.number = 0
        """The number of the last message with changes."""
        self.total = 0
        """The sum of the versions of all buckets."""
        self._buckets: list[dict[Key, Any]] = [{} for _ in range(BUCKETS)]
        self._versions = [0] * BUCKETS
        self._untold: defaultdict[int, dict[Key, Any]] = defaultdict(dict)
        # By bucket: the changed keys. The value is the newest one of an entry that the others don't have yet: a client
        # that came and went before the next message is told too. It is `ABSENT` for entries that the others have.
        self._asked: dict[int, None] = {}

    @property
    def has_messages(self) -> bool:
        """Whether there are changes or pages to send."""
        return bool(self._untold or self._asked)

    def set(self, key: Key, value: Any) -> list[Modification]:
        """Give the entry this value; `ABSENT` removes it. Several changes before the next message are told as one."""
        bucket = bucket_of(key)
        modification = set_entry(self._buckets[bucket], key, value)
        _key, old, _value = modification
        untold = self._untold[bucket]
        if key not in untold:
            untold[key] = value if old is ABSENT else ABSENT
        elif value is not ABSENT and untold[key] is not ABSENT:
            untold[key] = value
        return [modification]

    def asked(self, known: Mapping[int, int]) -> None:
        """Another process knows these versions (bucket → version; 0 if missing): send the buckets that differ."""
        self._asked.update((b, None) for b in range(BUCKETS) if self._versions[b] != known.get(b, 0))

    def take_delta(self) -> str | None:
        """Return changes that fit one message, as JSON: {bucket: [previous version, entries]}; None without changes.

        The new version of these buckets is `number`.
        """
        if not self._untold:
            return None
        self.number += 1
        groups: list[str] = []
        size = 0
        while self._untold and size < SOFT_BYTES:
            bucket, keys = next(iter(self._untold.items()))
            entries: list[str] = []
            while keys and size < SOFT_BYTES:
                key = next(iter(keys))
                visit, value = keys.pop(key), self._buckets[bucket].get(key, ABSENT)
                values = [visit, value] if value is ABSENT and visit is not ABSENT else [value]
                for told in values:
                    entries.append(encode_entry(key, told))
                    size += len(entries[-1]) + 1
            if not keys:
                del self._untold[bucket]
            groups.append(f'"{bucket}":[{self._versions[bucket]},[{",".join(entries)}]]')
            size += 24
            self.total += self.number - self._versions[bucket]
            self._versions[bucket] = self.number
        return f"{{{','.join(groups)}}}"

    def take_pages(self) -> list[str]:
        """Return asked-for buckets, as JSON: [[bucket, version, part, parts, entries], …]; a few messages at most.

        A page may be ahead of its version by changes that are not told yet: the next message has them again.
        """
        messages: list[str] = []
        pages: list[str] = []
        size = 0
        while self._asked and size < SOFT_BYTES and not messages:
            for page in self._take_bucket():
                if size and size + len(page) > SOFT_BYTES:
                    messages.append(f"[{','.join(pages)}]")
                    pages, size = [], 0
                pages.append(page)
                size += len(page)
        if pages:
            messages.append(f"[{','.join(pages)}]")
        return messages

    def _take_bucket(self) -> list[str]:
        """Return the pages of the bucket that was asked for first; a bucket without entries has one page."""
        bucket = next(iter(self._asked))
        del self._asked[bucket]
        parts: list[str] = []
        entries: list[str] = []
        size = 0
        for key, value in self._buckets[bucket].items():
            if size >= SOFT_BYTES:
                parts.append(",".join(entries))
                entries, size = [], 0
            entries.append(encode_entry(key, value))
            size += len(entries[-1]) + 1
        parts.append(",".join(entries))
        head = f"{bucket},{self._versions[bucket]}"
        return [f"[{head},{number},{len(parts)},[{part}]]" for number, part in enumerate(parts)]
