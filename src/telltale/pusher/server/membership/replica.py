"""What another process has reported of its clients, as this process knows it. Pure; the time is an argument."""

from collections.abc import Iterable
from typing import Any, Final

from telltale.pusher.server.membership.entries import (
    ABSENT,
    BUCKETS,
    BucketDelta,
    Entries,
    Key,
    Modification,
    Page,
    set_entry,
)

DROPPED_AT_ONCE: Final = 1_000
"""Entries of a silent process that are dropped in one turn of the event loop."""


class Replica:
    """The entries of one other process, and the versions of its buckets that are known here.

    If the known versions add up to the total that the process reports, nothing is missing: no known version is newer
    than the process's own.
    """

    __slots__ = (
        "_buckets", "_newest", "_reported_total", "_staged", "_total", "_versions",
        "ask_at", "heard_at", "is_gone", "process", "rank",
    )  # fmt: skip

    def __init__(self, process: str, *, now: float) -> None:
        self.process = process
        self.rank: int | None = None
        """Its place in the order in which the site's processes started; None until it knows it."""
        self.heard_at = now
        self.ask_at = now
        """When this process may ask for what is missing."""
        self.is_gone = False
        """Whether its entries are being dropped."""
        self._buckets: list[dict[Key, Any]] = [{} for _ in range(BUCKETS)]
        self._versions = [0] * BUCKETS
        self._total = 0
        self._newest = 0
        self._reported_total = 0
        self._staged: dict[int, tuple[int, dict[int, Entries]]] = {}

    @property
    def is_behind(self) -> bool:
        """Whether changes are missing here."""
        return self._total != self._reported_total

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left, after `drop_some`."""
        return not self._total

    @property
    def known(self) -> dict[int, int]:
        """Bucket → known version, without those of which nothing is known."""
        return {bucket: version for bucket, version in enumerate(self._versions) if version}

    def reported(self, number: int, total: int) -> None:
        """The process has sent `number` messages with changes; its versions then added up to `total`."""
        if number >= self._newest:
            self._newest, self._reported_total = number, total

    def apply_delta(self, number: int, deltas: Iterable[BucketDelta]) -> list[Modification]:
        """Apply those whose previous version is the known one; the others are repeated, or ahead of a gap."""
        modifications: list[Modification] = []
        for bucket, previous, entries in deltas:
            if self._versions[bucket] == previous:
                modifications += [self._set(bucket, key, value) for key, value in entries]
                self._know(bucket, number)
        return modifications

    def apply_page(self, page: Page) -> list[Modification]:
        """Replace a bucket once all its parts have come; older pages are skipped."""
        bucket, version, part, parts, entries = page
        if version <= self._versions[bucket]:
            return []
        staged_version, staged = self._staged.get(bucket, (0, {}))
        if staged_version != version:
            staged = {}
            self._staged[bucket] = (version, staged)
        staged[part] = entries
        if len(staged) < parts:
            return []
        current = dict(entry for number in sorted(staged) for entry in staged[number])
        # Additions first: a channel that one member leaves and another joins is not vacated in between.
        modifications = [self._set(bucket, key, value) for key, value in current.items()]
        modifications += self._remove(bucket, self._buckets[bucket].keys() - current.keys())
        self._know(bucket, version)
        return modifications

    def drop_some(self) -> list[Modification]:
        """Drop some buckets, because the process is gone."""
        modifications: list[Modification] = []
        for bucket, entries in enumerate(self._buckets):
            if self._versions[bucket]:
                modifications += self._remove(bucket, list(entries))
                self._know(bucket, 0)
            if len(modifications) >= DROPPED_AT_ONCE:
                break
        return modifications

    def _set(self, bucket: int, key: Key, value: Any) -> Modification:
        return set_entry(self._buckets[bucket], key, value)

    def _remove(self, bucket: int, keys: Iterable[Key]) -> list[Modification]:
        return [self._set(bucket, key, ABSENT) for key in keys]

    def _know(self, bucket: int, version: int) -> None:
        self._total += version - self._versions[bucket]
        self._versions[bucket] = version
        self._staged.pop(bucket, None)
