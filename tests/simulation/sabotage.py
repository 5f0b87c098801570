"""Every mechanism that a promise rests on, as a switch that takes it away: each must turn the simulation red."""

from enum import Enum


class Sabotage(Enum):
    """What is done wrongly."""

    PUBLISH_FIRST = "an end is published before it is committed"
    NO_FENCING = "writes are not checked for their attempt"
    NO_ABSORPTION = "an ended attempt may be written again"
    REDELIVERY_REOPENS = "a delivery runs whatever it finds, cancelled and succeeded too"
    CANCEL_UNHEARD = "the worker does not look for cancellations when it saves"
    NO_EXPIRY = "readers do not end lapsed leases"
    NO_RENEWAL = "a worker saves progress, but does not renew its lease while nothing moves"
    NOTICE_APART = "the end's notice is written after the end, not with it"
    NOTICE_TWICE = "a notice is granted to every page that asks"
    NO_TRAILING_REPORT = "the reporter reports the leading edge, and not what came last"
    NO_TRAILING_FRAME = "a connection sends when something arrives, and does not wake for what it held back"
    SNAPSHOT_FIRST = "the snapshot is read before the connection is attached"
    NO_RECHECK = "web processes do not re-read what is watched"
    NO_ORDER_IN_CONNECTION = "a connection takes whatever comes last for the newest"
    NO_ORDER_IN_BROWSER = "a browser takes whatever comes last for the newest"
    NO_TOPICS = "a connection is offered everything and takes it"
    END_AS_PROGRESS = "an end does not outrank progress that has a larger seq"


Sabotages = frozenset[Sabotage]
NONE: Sabotages = frozenset()
