"""The mechanisms that the promises depend on, each as a switch that removes it: then a promise must be broken."""

from enum import Enum


class Sabotage(Enum):
    """A mechanism that is removed, and what happens instead."""

    PUBLISH_FIRST = "an end is published before it is committed"
    NO_FENCING = "writes are not checked for their attempt"
    NO_ABSORPTION = "an ended attempt may be written again"
    REDELIVERY_REOPENS = "a delivery runs any task, also one that was cancelled or succeeded"
    LOST_FOR_GOOD = "a living worker can't take back an attempt that was presumed lost"
    TAKES_BACK_FENCED = "a worker takes back its attempt although a newer one began"
    CANCEL_UNHEARD = "a worker ignores cancellations when it saves"
    NO_EXPIRY = "readers do not end tasks whose lease expired"
    NO_RENEWAL = "a worker saves progress and does not renew its lease"
    NOTICE_APART = "the notice of an end is written after the end, in another transaction"
    NOTICE_TWICE = "a notice is given to every page that asks for it"
    NO_TRAILING_REPORT = "the reporter reports the first change, and not the last one before a pause"
    NO_TRAILING_FRAME = "the hub sends what arrives, and never what waits for the next tick"
    SNAPSHOT_FIRST = "the snapshot is read before the connection is attached"
    NO_RECHECK = "web processes do not re-read what is watched"
    NO_ORDER_IN_CONNECTION = "a connection takes the last snapshot for the newest"
    NO_ORDER_IN_BROWSER = "a browser takes the last snapshot for the newest"
    NO_TOPICS = "a connection is offered all envelopes and accepts them"
    END_AS_PROGRESS = "an end does not supersede progress with a larger seq"
    NO_CORRECTION = "what was heard, and the store denies, is not taken back"
    CORRECTS_NEWS = "a read denies what was heard after it began"
    FORGETS_CANCEL = "a worker's save overwrites a cancellation that was requested meanwhile"
    END_NOT_REPEATED = "an end that could not be written is not written again"
    OUTLIVES_TICKET = "a connection stays open when its ticket has expired"
    NO_CREDIT = "a client that acknowledges nothing is sent more and more"


Sabotages = frozenset[Sabotage]
NONE: Sabotages = frozenset()
