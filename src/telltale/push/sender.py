"""Encrypts one message for one browser and sends it to the browser's push service, by `pywebpush`.

A request has time limits (`TIMEOUT_S`), and follows no redirect, which could lead into the site's own network.
"""

import json
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Any, Final

from telltale.core.push import Subscription, is_at_service
from telltale.core.wire import Notice
from telltale.push.options import SUBJECT_HINT, PushOptions, WrongSubject, key_object

TTL_S: Final = 86_400
"""How long a push service keeps a message for a browser that is not reachable."""

TIMEOUT_S: Final = (5.0, 10.0)
"""Until there is a connection, and for each part of the answer."""

TOKEN_S: Final = 3_600.0
"""How long the site's signature for a push service is valid; a service allows a day."""

TEXT_CHARACTERS: Final = 500
"""A message has at most 3,993 bytes; a character has up to 4, or 6 as an escape."""

URL_CHARACTERS: Final = 1_000


class Outcome(Enum):
    """What came of a message."""

    ACCEPTED = "accepted"
    GONE = "gone"
    """The browser has no such subscription any more."""
    FAILED = "failed"
    """The service, the way to it or the site's keys have failed: the message may be sent again later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The outcome, and for a failure its reason, and for how long the service asked to be left alone."""

    outcome: Outcome
    reason: str = ""
    retry_after_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PushMessage:
    """What a browser shows."""

    id: str
    """Of the notice: a browser that gets a message twice shows it once."""
    text: str
    url: str | None

    @classmethod
    def of(cls, notice: Notice) -> "PushMessage":
        """Return the message for a notice."""
        return cls(id=notice.id, text=notice.text, url=notice.url)

    def to_bytes(self) -> bytes:
        """Return it as the service worker reads it, without a link that is too long, which the list of messages has."""
        text = self.text if len(self.text) <= TEXT_CHARACTERS else f"{self.text[: TEXT_CHARACTERS - 1]}…"
        url = self.url if self.url and len(self.url) <= URL_CHARACTERS and self.url.isascii() else None
        return json.dumps({"id": self.id, "text": text, "url": url}, ensure_ascii=False).encode("utf-8", "replace")


def send(subscription: Subscription, message: PushMessage, options: PushOptions) -> Answer:
    """Send the message. Nothing that the browser or its push service gave makes it raise.

    Raises as `signature`.
    """
    from pywebpush import WebPusher, WebPushException
    from requests import RequestException

    if not is_at_service(subscription.endpoint, options.services):
        return Answer(outcome=Outcome.GONE, reason="SERVICES does not name its push service any more.")
    keys = {"p256dh": subscription.key, "auth": subscription.secret}
    headers = {
        **signature(subscription.origin, options),
        "Urgency": "normal",
        "Topic": message.id.replace("-", "")[:32],
    }
    with _session() as session:
        try:
            pusher = WebPusher({"endpoint": subscription.endpoint, "keys": keys}, requests_session=session)
            response = pusher.send(message.to_bytes(), headers, ttl=TTL_S, timeout=TIMEOUT_S)
        except RequestException as error:
            # The reason is logged, and the path of the address is a secret of the browser and its service.
            path = subscription.endpoint.removeprefix(subscription.origin)
            return Answer(outcome=Outcome.FAILED, reason=repr(error).replace(path, "/…"))
        except (ValueError, WebPushException) as error:
            # Not a point of the curve: the keys were never a browser's.
            return Answer(outcome=Outcome.GONE, reason=repr(error))
        return _answer(response)


def _session() -> Any:
    from requests import Session

    class NoRedirects(Session):
        def post(self, url: Any, *arguments: Any, **options: Any) -> Any:
            return super().post(url, *arguments, **{**options, "allow_redirects": False})

    return NoRedirects()


def signature(origin: str, options: PushOptions) -> dict[str, str]:
    """Return the headers that tell the push service `origin` who sends.

    Raises `WrongKey`, `WrongSubject`, and `ImportError` without `pywebpush`.
    """
    from py_vapid import Vapid02, VapidException

    claims = {"aud": origin, "sub": options.subject, "exp": int(time.time() + TOKEN_S)}
    try:
        return dict(Vapid02(key_object(options.private_key)).sign(claims))
    except VapidException as error:
        raise WrongSubject(f"VAPID_SUBJECT is {options.subject!r}. {SUBJECT_HINT}") from error


def _answer(response: Any) -> Answer:
    status = response.status_code
    if 200 <= status < 300:
        return Answer(outcome=Outcome.ACCEPTED)
    if status in (404, 410):
        return Answer(outcome=Outcome.GONE, reason=f"status {status}")
    reason = f"status {status}: {response.text[:200]!r}"
    return Answer(outcome=Outcome.FAILED, reason=reason, retry_after_s=_seconds(response.headers.get("Retry-After")))


def _seconds(value: str | None) -> float:
    """The header `Retry-After` in seconds: a number, or a date; 0 for anything else."""
    if not value:
        return 0.0
    if value.isdecimal() and value.isascii():
        return float(value[:9])
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return 0.0
