"""The table of bounds of single settings, and of orders between two of them. `settings.py` reports what violates it.

Each row says why: a value outside loses healthy tasks, keeps a machine busy, or makes pages say what is not true.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from typing import Final, NamedTuple

from django.core.checks import ERROR, WARNING, CheckMessage, Error

from telltale.conf import FIELD_BY_KEY, Settings

MINUTE_S: Final = 60.0
DAY_S: Final = 86_400.0


class Bound(NamedTuple):
    """The least and the greatest useful value of a setting."""

    least: float
    most: float
    why: str
    """What goes wrong outside, as a clause."""


BOUNDS: Final[dict[str, Bound]] = {
    "BEAT_S": Bound(0.1, 3_600.0, "more beats cost writes, and fewer find a dead worker too late"),
    "STALLED_S": Bound(0.5, DAY_S, "a worker that is busy for a moment would look lost, or a dead one alive"),
    "LEASE_S": Bound(1.0, 7 * DAY_S, "a worker that is busy for a moment would be lost, or a dead one never"),
    "QUIET_S": Bound(1.0, 7 * DAY_S, "every task would look quiet, or none ever"),
    "PUBLISH_EVERY_S": Bound(0.01, MINUTE_S, "samples would keep the worker busy, or bars would jump"),
    "SAVE_EVERY_S": Bound(0.1, 3_600.0, "saves would keep the database busy, or pages that poll would stand still"),
    "END_RETRY_S": Bound(0.1, 3_600.0, "an outage of a moment would delay ends, or one of an hour would block workers"),
    "QUEUE_STATUS_EVERY_S": Bound(0.5, 3_600.0, "the questions would keep runners busy, or answers would be old"),
    "KEEP_ENDED_S": Bound(MINUTE_S, inf, "people would not find a task that has just ended"),
    "KEEP_UNSEEN_S": Bound(MINUTE_S, inf, "notices would be deleted before people come back"),
    "UNSEEN_AFTER_S": Bound(0.1, inf, "people would get a mail for what their page is about to show"),
    "UNSTARTED_S": Bound(10.0, inf, "tasks would fail while their workers restart"),
    "KEEP_QUEUED_S": Bound(MINUTE_S, inf, "tasks would fail while they wait for a busy worker"),
    "PRUNE_EVERY_S": Bound(10.0, 7 * DAY_S, "pruning would keep the database busy, or rows would pile up"),
    "TICKET_S": Bound(5.0, DAY_S, "pages would renew tickets all the time, or go on after a right was withdrawn"),
    "LONG_POLL_S": Bound(1.0, 55.0, "polls would keep the server busy, or proxies would cut them off after 60 s"),
    "POLL_S": Bound(0.5, MINUTE_S, "polls would keep the server busy, or pages would stand still"),
    "RECHECK_S": Bound(
        0.5, 3_600.0, "reads would keep a core busy for one idle page, or what was missed would come late"
    ),
    "SHOW_ENDED_S": Bound(1.0, inf, "people would not see that a task has ended"),
    "PUSHER_EVENTS_PER_S": Bound(0.001, 10_000.0, "progress would never be sent, or without any limit"),
}
"""By key, for every setting that is a time or a rate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One setting, multiplied, must not be greater than another."""

    small: str
    times: float
    great: str
    why: str
    """What goes wrong otherwise, as a sentence."""
    level: int = ERROR


ORDERS: Final = (
    Order(small="BEAT_S", times=2, great="STALLED_S", why="A beat may be late, so healthy tasks would look lost."),
    Order(
        small="SAVE_EVERY_S",
        times=2,
        great="STALLED_S",
        why="Beats are saved so often, so healthy tasks would look lost.",
    ),
    Order(small="STALLED_S", times=1.1, great="LEASE_S", why="Pages say that contact was lost before a task is lost."),
    Order(
        small="PUBLISH_EVERY_S",
        times=2,
        great="BEAT_S",
        why="Beats are published with the samples, so they would be late, and healthy tasks would look lost.",
    ),
    Order(
        small="PUBLISH_EVERY_S",
        times=1,
        great="SAVE_EVERY_S",
        why="A save holds what was published last, so leases would be renewed late.",
    ),
    Order(
        small="POLL_S",
        times=2,
        great="STALLED_S",
        why="Pages that poll would show healthy tasks as stalled.",
        level=WARNING,
    ),
    Order(
        small="RECHECK_S",
        times=2,
        great="STALLED_S",
        why="Pages would show healthy tasks as stalled while the broker is down.",
        level=WARNING,
    ),
)


def check_bounds(settings: Settings) -> Iterator[CheckMessage]:
    """Report each value that is out of its bounds, and each pair in the wrong order. All have the right types."""
    for key, bound in BOUNDS.items():
        value = _value(settings, key)
        if value is not None and not bound.least <= value <= bound.most:
            yield Error(
                f"TELLTALE[{key!r}] is {value:g}: {bound.why}.",
                hint=f"Use {_range(bound)}. Without this key, it is {_value(Settings(), key)!r}.",
                id="telltale.E002",
            )
    for order in ORDERS:
        small, great = _value(settings, order.small), _value(settings, order.great)
        if small is not None and great is not None and order.times * small > great:
            yield CheckMessage(
                order.level,
                f"TELLTALE has {order.small} = {small:g} and {order.great} = {great:g}. {order.why}",
                hint=f"{order.great} must be at least {order.times:g} times {order.small}: {order.times * small:g}.",
                id="telltale.E004" if order.level == ERROR else "telltale.W010",
            )


def _value(settings: Settings, key: str) -> float | None:
    value: float | None = getattr(settings, FIELD_BY_KEY[key])
    return value


def _range(bound: Bound) -> str:
    return f"at least {bound.least:g}" if bound.most == inf else f"{bound.least:g} to {bound.most:g}"
