"""The rights of a ticket's bearer: what a ticket says of its user and session, and whether the user's rights hold.

A user has the rights of a ticket while the row exists, is active if it was, and has the same session auth hash: then
Django would accept the session too. This is asked of the database, for many users by one query. `CAN_FOLLOW` needs a
request, so tickets for its topics are short-lived instead (`pages.permissions`).

A session is not looked up: its key is a secret, so tickets hold a digest of it, which is compared with that of a
session that ended (`pages.sign_out`).
"""

from collections.abc import Collection, Iterable, Iterator
from typing import Any, Final

from django.conf import settings
from django.contrib.auth import SESSION_KEY, get_user_model
from django.core.exceptions import ValidationError
from django.db import router
from django.http import HttpRequest
from django.utils.crypto import salted_hmac

from telltale.core.policy import Bearer
from telltale.owners import is_kept_in_cookie

BATCH: Final = 500
"""Users in one query; databases limit its parameters (SQLite by default to 999, in old versions)."""

DIGEST_LENGTH: Final = 20
"""Hexadecimal digits of a digest in a ticket."""


# What a ticket says


def bearer_of(request: HttpRequest | None, user: Any) -> Bearer | None:
    """Return the bearer for a ticket. None if there is no user (`user` is None), or one that has no row."""
    if not isinstance(user, get_user_model()):
        return None
    has_session = request is not None and is_signed_in_as(request, key_of(user))
    auth = next(iter(_auth_digests(user)), "") if has_session else ""
    return Bearer(user=key_of(user), is_active=is_active(user), auth=auth)


def key_of(user: Any) -> str:
    """Return the user's primary key as text, as Django keeps it in the session."""
    return str(user._meta.pk.value_to_string(user))


def is_active(user: Any) -> bool:
    """Whether the user is active; a user model without such a field knows no others."""
    return bool(getattr(user, "is_active", True))


def is_signed_in_as(request: HttpRequest, key: str) -> bool:
    """Whether the request's session names this user."""
    session = getattr(request, "session", None)
    return session is not None and session.get(SESSION_KEY) == key


def session_digests(session: Any, *, former_key: str | None = None) -> list[str]:
    """Return the digests of the session's key: by `SECRET_KEY`, which new tickets hold, then by its fallbacks.

    Empty without a session, and where sessions are kept in cookies: there the key is the content, which changes.
    `former_key`: the key before the session was emptied, instead of the present one.
    """
    key = former_key or getattr(session, "session_key", None)
    if not key or is_kept_in_cookie(session):
        return []
    return [_digest("session", key, secret) for secret in _secrets()]


# Whether the rights hold


def ended(bearers: Collection[Bearer]) -> set[Bearer]:
    """Return those whose rights have ended, by a query for each `BATCH` of them. Raises the database's errors."""
    found: set[Bearer] = set()
    for batch in batches(bearers):
        users = _users({bearer.user for bearer in batch})
        found |= {bearer for bearer in batch if not _has_rights(users.get(bearer.user), bearer)}
    return found


def batches(bearers: Iterable[Bearer]) -> list[list[Bearer]]:
    """Return the bearers in lists of at most `BATCH`: those that one query asks for."""
    in_order = list(bearers)
    return [in_order[start : start + BATCH] for start in range(0, len(in_order), BATCH)]


def _users(keys: Iterable[str]) -> dict[str, Any]:
    """Return users by key. From the database that is written to: a replica may not know a new password yet."""
    model = get_user_model()
    # Whole rows: a user model's own `get_session_auth_hash` may read any field.
    rows = model._base_manager.using(router.db_for_write(model)).filter(pk__in=filter(_is_key, keys))
    return {key_of(user): user for user in rows}


def _is_key(key: str) -> bool:
    # After a change of the user model, tickets may name keys of another type.
    try:
        get_user_model()._meta.pk.to_python(key)
    except ValidationError:
        return False
    return True


def _has_rights(user: Any, bearer: Bearer) -> bool:
    if user is None or (bearer.is_active and not is_active(user)):
        return False
    return not bearer.auth or bearer.auth in _auth_digests(user)


def _auth_digests(user: Any) -> Iterator[str]:
    """Yield digests of the user's session auth hashes: by `SECRET_KEY` first, then with its fallbacks."""
    if not hasattr(user, "get_session_auth_hash"):
        return
    secrets = _secrets()
    hashes = [user.get_session_auth_hash()]
    if len(secrets) > 1:
        hashes += user.get_session_auth_fallback_hash()
    for secret in secrets:
        for auth_hash in hashes:
            yield _digest("auth", auth_hash, secret)


def _secrets() -> list[Any]:
    return [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]


def _digest(purpose: str, text: str, secret: Any) -> str:
    digest = salted_hmac(f"telltale.rights.{purpose}", text, secret=secret, algorithm="sha256").hexdigest()
    return digest[:DIGEST_LENGTH]
