"""Tickets: signed, short-lived statements of the topics that their bearer may follow.

A page gets one when it is rendered, others come from `pages.views.ticket`. The caller of `issue` has checked
permissions; `verify` reads no database and needs no request. The signature is Django's: it depends on SECRET_KEY, and
SECRET_KEY_FALLBACKS keep older tickets valid.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

from django.conf import settings
from django.core import signing

from telltale import conf, store
from telltale.core import reasons
from telltale.core.policy import Bearer, Grant
from telltale.core.reasons import Reason
from telltale.core.topics import parse_open

SALT: Final = "telltale.ticket"

MAX_TOPICS: Final = 200
"""Topics in one ticket; a page that shows more tasks follows their owner's topic, which covers them all."""

MAX_UNCOMPRESSED_TOPICS: Final = 4
"""Up to this many topics, compressing costs more time on verifying than it saves in transfer."""

MAX_LENGTH: Final = 16_384
"""Characters of a ticket; a longer one is not parsed."""


class TicketRefused(Exception):
    """A ticket that is not valid; `reason` tells the client what to do next."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.meaning)
        self.reason = reason


def issue(
    topics: Iterable[str],
    *,
    follower: str = "",
    bearer: Bearer | None = None,
    session: str = "",
    ttl_s: float | None = None,
    now: float | None = None,
) -> str:
    """Return a signed ticket for `topics`, valid for `ttl_s` seconds (None: as the settings say).

    The caller has checked that they may be followed. `follower`: the person's own topic, by which their connections
    are counted. `bearer`, `session`: with these the rights end before the ticket expires (`rights.py`).
    Raises `ValueError` for more than `MAX_TOPICS` and for a malformed topic.
    """
    issued_at = store.now() if now is None else now
    fields: dict[str, Any] = {"f": follower, "e": expires_at(ttl_s, now=issued_at), "i": round(issued_at, 1)}
    if bearer is not None:
        fields["b"] = [bearer.user, int(bearer.is_active), bearer.auth]
    if session:
        fields["s"] = session
    return _sign(sorted(set(topics)), fields)


def verify(text: object, *, now: float | None = None) -> Grant:
    """Return what a ticket grants; raises `TicketRefused` if the signature is not this site's, or it has expired."""
    if not isinstance(text, str) or not 0 < len(text) <= MAX_LENGTH:
        raise TicketRefused(reasons.NO_TICKET)
    try:
        fields = _signer().unsign_object(text)
        grant = Grant(
            topics=frozenset(fields["t"]),
            follower=fields["f"],
            expires_at=float(fields["e"]),
            issued_at=float(fields.get("i", 0)),
            bearer=_bearer(*fields["b"]) if "b" in fields else None,
            session=fields.get("s", ""),
        )
    except (signing.BadSignature, KeyError, TypeError, ValueError):
        raise TicketRefused(reasons.NO_TICKET) from None
    if (store.now() if now is None else now) >= grant.expires_at:
        raise TicketRefused(reasons.EXPIRED)
    return grant


def expires_at(ttl_s: float | None = None, *, now: float | None = None) -> float:
    """Return when a ticket issued at `now` expires, in seconds since 1970; `ttl_s` None: as the settings say."""
    issued_at = store.now() if now is None else now
    return round(issued_at + (conf.settings().ticket_s if ttl_s is None else ttl_s), 3)


def _bearer(user: str, is_active: int, auth: str) -> Bearer:
    return Bearer(user=user, is_active=bool(is_active), auth=auth)


def _sign(topics: list[str], fields: dict[str, Any]) -> str:
    if len(topics) > MAX_TOPICS:
        raise ValueError(
            f"A ticket for {len(topics)} topics was requested; at most {MAX_TOPICS} fit. "
            "Follow the owner's topic, or a topic of your own that covers them."
        )
    for topic in topics:
        parse_open(topic)
    return _signer().sign_object({"t": topics, **fields}, compress=len(topics) > MAX_UNCOMPRESSED_TOPICS)


def _signer() -> signing.Signer:
    return _signer_by(settings.SECRET_KEY, tuple(settings.SECRET_KEY_FALLBACKS))


@lru_cache(maxsize=1)
def _signer_by(key: str, fallbacks: tuple[str, ...]) -> signing.Signer:
    return signing.Signer(key=key, salt=SALT, fallback_keys=list(fallbacks))
