"""At sign-in, what the visitor's anonymous session owned becomes the user's: tasks and notices.

Called by Django's signal `user_logged_in`, which every sign-in sends. If another user was signed in, Django has emptied
the session before, so nothing is handed over. At sign-out Django empties the session too, and with it the session's
name. A database that fails does not fail the sign-in: the session keeps its name for the next one.
"""

import logging
from typing import Any

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.db import DatabaseError

from telltale import store
from telltale.core.topics import user_topic
from telltale.messages import announce
from telltale.owners import NAME_IN_SESSION, django_request, key_digests

logger = logging.getLogger(__name__)


def on_sign_in(sender: object, *, request: Any = None, user: Any = None, **_: object) -> None:
    """Hand over to the user; connected by `apps.py`."""
    request = django_request(request)
    session = getattr(request, "session", None)
    # Other programs send the signal too, such as for a token: then the session is not the user's.
    if session is None or user is None or session.get(SESSION_KEY) != user._meta.pk.value_to_string(user):
        return
    names = [*filter(None, [session.get(NAME_IN_SESSION)]), *_former_digests(request, session)]
    if not names:
        return
    try:
        is_changed = store.hand_over(names, user.pk)
    except DatabaseError:
        logger.exception("What %s's session owned can't be handed over; the next sign-in tries again.", user)
        return
    session.pop(NAME_IN_SESSION, None)
    if is_changed:
        # The user's other pages show at once what is theirs now.
        announce(store.read_topics([user_topic(user.pk)]))


def _former_digests(request: Any, session: Any) -> list[str]:
    """The names that the session had by its key, which the sign-in has changed; the request still has that one.

    A session that was emptied has no key yet: what it owned is not handed over.
    """
    former_key = request.COOKIES.get(settings.SESSION_COOKIE_NAME)
    return key_digests(session, former_key) if session.session_key else []
