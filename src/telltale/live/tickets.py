"""Tickets: signed, short-lived statements of which topics their bearer may follow.

A page gets one when it is rendered, others come from `views.ticket`. Whoever issues one has asked
`permissions` before; whoever verifies one reads no database and knows no request. The signature is Django's,
so it changes with SECRET_KEY, and SECRET_KEY_FALLBACKS keep old tickets good.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

from django.conf import settings
from django.core import signing

from telltale import conf, store
from telltale.core import reasons
from telltale.core.policy import Grant
from telltale.core.reasons import Reason
from telltale.core.topics import parse

SALT: Final = "telltale.ticket"

MAX_TOPICS: Final = 200
"""Topics in one ticket; a page that shows more follows its owner's topic, which covers all of theirs."""

FEW_TOPICS: Final = 4
"""Up to so many, compressing costs those who verify more time than it saves on the way."""

MAX_LENGTH: Final = 16_384
"""Characters of a ticket that are looked at."""


class Refused(Exception):
    """A ticket, or a connection, that is not accepted; `reason` tells the client what to do next."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.meaning)
        self.reason = reason


def issue(topics: Iterable[str], *, follower: str = "", ttl_s: float | None = None, now: float | None = None) -> str:
    """Sign a ticket for `topics`, good for `ttl_s` seconds (None: as the settings say).

    The caller has made sure that they may be followed. `follower` is their own topic, by which their
    connections are counted.
    """
    return _signed(topics, follower, expires_at(ttl_s, now=now))


def verify(text: object, *, now: float | None = None) -> Grant:
    """What a ticket grants; raises `Refused` if it is not ours, or has run out."""
    if not isinstance(text, str) or not 0 < len(text) <= MAX_LENGTH:
        raise Refused(reasons.NO_TICKET)
    try:
        said = _signer().unsign_object(text)
        grant = Grant(topics=frozenset(said["t"]), follower=said["f"], expires_at=float(said["e"]))
    except (signing.BadSignature, KeyError, TypeError, ValueError):
        raise Refused(reasons.NO_TICKET) from None
    if (store.now() if now is None else now) >= grant.expires_at:
        raise Refused(reasons.EXPIRED)
    return grant


def _signed(topics: Iterable[str], follower: str, expires_at: float) -> str:
    said: dict[str, Any] = {"t": sorted(set(topics)), "f": follower, "e": expires_at}
    if len(said["t"]) > MAX_TOPICS:
        raise ValueError(
            f"A ticket for {len(said['t'])} topics was asked for; at most {MAX_TOPICS} fit: "
            "follow the owner's topic, or one of your own that covers them."
        )
    for topic in said["t"]:
        parse(topic)
    return _signer().sign_object(said, compress=len(said["t"]) > FEW_TOPICS)


def _signer() -> signing.Signer:
    return _signer_by(settings.SECRET_KEY, tuple(settings.SECRET_KEY_FALLBACKS))


@lru_cache(maxsize=1)
def _signer_by(key: str, fallbacks: tuple[str, ...]) -> signing.Signer:
    return signing.Signer(key=key, salt=SALT, fallback_keys=list(fallbacks))


def expires_at(ttl_s: float | None = None, *, now: float | None = None) -> float:
    """When a ticket issued at `now` expires, in seconds since 1970; `ttl_s` None: as the settings say."""
    at = store.now() if now is None else now
    return round(at + (conf.settings().ticket_s if ttl_s is None else ttl_s), 3)
