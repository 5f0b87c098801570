"""Hands over notices that no page has shown for `UNSEEN_AFTER_S`: to mail, or to a hook of the site.

`TELLTALE["UNSEEN"]` is the dotted path of a hook `(user, notices) -> bool | None`; `mail` is one. `manage.py telltale
unseen` calls it, once for each user. `store.unseen` has the claim: a notice is either shown by a page or
handed over.
"""

import logging
import random
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.core.mail import send_mail
from django.urls import NoReverseMatch, reverse
from django.utils.module_loading import import_string
from django.utils.translation import ngettext

from telltale import conf, store
from telltale.core.topics import parse, unescape
from telltale.core.wire import Notice

logger = logging.getLogger(__name__)

Hook = Callable[[Any, Sequence[Notice]], bool | None]

MAX_FAILURES: Final = 3
"""After so many errors in a row the hook's service is probably away, and the rest waits for the next call."""

SUBJECT_LENGTH: Final = 120
"""Characters of a mail's subject."""

_failed: Final[set[str]] = set()
"""Topics for which the last try of this process failed; they come last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedOver:
    """What a call of `hand_over` has done."""

    notices: int
    users: int
    failures: int
    """For how many users the hook raised an error. Their notices were given back."""


def hand_over(hook: Hook | None = None) -> HandedOver:
    """Hand over what is due, by the hook of the settings. Without one, nothing is due."""
    used = hook or _configured_hook()
    notices = users = failures = failures_in_a_row = 0
    for user, topic in _due_users() if used else ():
        try:
            count = _hand_over(used, user, topic)
        except Exception:
            # A site's own code, or a mail server that is away.
            logger.exception("Handing over the notices of %s failed; it is tried again at the next call.", topic)
            _failed.add(topic)
            failures, failures_in_a_row = failures + 1, failures_in_a_row + 1
            if failures_in_a_row == MAX_FAILURES:
                break
        else:
            failures_in_a_row = 0
            _failed.discard(topic)
            notices, users = notices + count, users + bool(count)
    return HandedOver(notices=notices, users=users, failures=failures)


def mail(user: Any, notices: Sequence[Notice]) -> bool:
    """Send a user their messages by mail; False for a user without an address.

    Links are made absolute with `TELLTALE["UNSEEN_URL"]`; without it, only links that are absolute are sent.
    """
    address = getattr(user, user.get_email_field_name(), "")
    if not address:
        return False
    subject = notices[0].text
    if len(notices) > 1:
        subject = ngettext("%(n)s new message", "%(n)s new messages", len(notices)) % {"n": len(notices)}
    body = "\n\n".join("\n".join(filter(None, (notice.text, _absolute(notice.url)))) for notice in notices)
    footer = _absolute(_list_url())
    # A subject is one line.
    subject = " ".join(subject.split())[:SUBJECT_LENGTH]
    return send_mail(subject, f"{body}\n\n-- \n{footer}\n" if footer else f"{body}\n", None, [address]) == 1


def _configured_hook() -> Any:
    path = conf.settings().unseen
    return import_string(path) if path else None


def _due_users() -> Iterator[tuple[Any, str]]:
    """The users with notices that are due, each with the topic. Users that are gone or not active get none."""
    users = get_user_model()._default_manager.using(conf.settings().database)
    topics = store.due_topics()
    _failed.intersection_update(topics)
    # A few users whose address a mail server refuses must not hold up all others, call after call.
    random.shuffle(topics)
    for topic in sorted(topics, key=_failed.__contains__):
        try:
            user = users.filter(pk=unescape(parse(topic)[1])).first()
        except (ValueError, ValidationError):
            continue  # A key of an earlier user model.
        if user is not None and user.is_active:
            yield user, topic


def _hand_over(hook: Hook, user: Any, topic: str) -> int:
    """Return how many notices were handed over. If the hook fails or declines, they are given back."""
    key = secrets.token_hex(16)
    notices = store.hold_due(topic, key)
    if not notices:
        return 0
    try:
        is_declined = hook(user, notices) is False
    except Exception:
        store.give_back(notices, key)
        raise
    if is_declined:
        store.give_back(notices, key)
        return 0
    store.confirm_handed_over(notices)
    return len(notices)


def _absolute(url: str | None) -> str:
    base = (conf.settings().unseen_url or "").rstrip("/")
    if url and url.startswith("/") and not url.startswith("//"):
        return f"{base}{url}" if base else ""
    return url if url and url.startswith(("https://", "http://")) else ""


def _list_url() -> str | None:
    try:
        return reverse("telltale:messages")
    except NoReverseMatch:
        return None
