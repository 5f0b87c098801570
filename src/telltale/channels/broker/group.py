"""The group that all listening processes join, and the numbers by which they find out that bundles are missing.

Without I/O: the time is an argument. Why one group, not a group for each topic: a `group_send` to a Redis layer
costs a millisecond of CPU, and a worker with 100 tasks publishes to some 1,000 topics a second; joining 10,000
groups takes seconds. With one group, a process sends 20 bundles a second at most, whatever it publishes, and
joining is one command. What grows instead: every listening process receives the bundles of every publishing one,
and drops messages that none of its listeners follows.
"""

from collections import OrderedDict
from typing import Final, NamedTuple

from django.conf import settings as django_settings
from django.utils.crypto import salted_hmac

from telltale import conf
from telltale.channels.groups import group_of

SLOT_S: Final = 600.0
"""How long a group's name is used by senders; a layer's `group_expiry` of less than four times this shortens it."""

MAX_SENDERS: Final = 4_096
"""The most senders whose last numbers are kept: some 500 KB."""


def site_name() -> str:
    """Twelve digits that depend on `SECRET_KEY` and the database: a site's tests and copies stay apart."""
    name = django_settings.DATABASES.get(conf.settings().database, {}).get("NAME", "")
    return salted_hmac("telltale.channels.broker.broker", str(name), algorithm="sha256").hexdigest()[:12]


class GroupSlots:
    """The names of the group: a new one for each slot of time.

    Layers forget a membership after `group_expiry`, a day by default, and keep that of a process that was killed
    for as long, with up to 100 bundles for it. New names solve both: a membership ends after three slots. Listeners
    join the names of the previous, the present and the next slot, so that clocks may differ by a slot.
    """

    def __init__(self, site: str, group_expiry_s: float | None) -> None:
        self._site = site
        self.slot_s = SLOT_S if group_expiry_s is None else min(SLOT_S, group_expiry_s / 4)

    def to_send_to(self, now: float) -> str:
        """The name for senders; `now` in seconds since 1970."""
        return self._name(self._slot(now))

    def to_join(self, now: float) -> set[str]:
        """The names for listeners, until `next_change_s` has passed."""
        return {self._name(self._slot(now) + offset) for offset in (-1, 0, 1)}

    def next_change_s(self, now: float) -> float:
        """Seconds until the names change."""
        return self.slot_s - now % self.slot_s

    def _slot(self, now: float) -> int:
        return int(now // self.slot_s)

    def _name(self, slot: int) -> str:
        return group_of(f"telltale:updates-{self._site}-{slot}")


class Gap(NamedTuple):
    """What a bundle's number says of earlier bundles."""

    is_possible: bool
    """Whether bundles may be missing."""
    bundles: int
    """How many bundles of a known sender are missing."""


class SenderNumbers:
    """The last number of each sender."""

    def __init__(self) -> None:
        self._numbers: OrderedDict[str, int] = OrderedDict()

    def add(self, sender: str, number: int, *, is_beacon: bool) -> Gap:
        """Note a received number. The first bundles of an unknown sender may have been sent before we listened."""
        last = self._numbers.get(sender)
        missing = max(0, number - (last or 0) - (not is_beacon))
        self._numbers[sender] = max(number, last or 0)
        self._numbers.move_to_end(sender)
        if len(self._numbers) > MAX_SENDERS:
            self._numbers.popitem(last=False)
        return Gap(missing > 0, 0 if last is None else missing)
