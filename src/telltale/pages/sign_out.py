"""The ends of rights: web processes are told, so that they close the connections concerned. Connected by `apps.py`.

A sign-out names its session, whose connections are closed at once; so does a sign-in in place of another user. A user
who has a new password, was deactivated or was deleted is checked at once. Web processes check all users regularly too
(`live.rights_checker`), for what sends no signal, such as `QuerySet.update`, and for messages that are lost.
"""

import logging
from typing import Any

from django.conf import settings
from django.db import DatabaseError

from telltale import store
from telltale.core.topics import RIGHTS, user_topic
from telltale.core.wire import Envelope, Event
from telltale.live.rights import is_active, key_of, session_digests
from telltale.messages import announce
from telltale.owners import django_request
from telltale.pages import push
from telltale.push.options import options

logger = logging.getLogger(__name__)


def on_sign_out(sender: object, *, request: Any = None, **_: object) -> None:
    """Close the connections of the session, and send its browser nothing more by web push."""
    session = getattr(django_request(request), "session", None)
    digests = session_digests(session)
    _delete_push(digests=push.digests_of(session), sessions=digests)
    if digests:
        _announce("sessions", digests)


def on_sign_in_over_another(sender: object, *, request: Any = None, **_: object) -> None:
    """Do as for a sign-out of the user that had this session: Django has emptied it before the sign-in.

    Other sign-ins leave the session a key, and what followed the anonymous session goes on.
    """
    request = django_request(request)
    session = getattr(request, "session", None)
    if request is None or session is None or session.session_key:
        return
    digests = session_digests(session, former_key=request.COOKIES.get(settings.SESSION_COOKIE_NAME))
    _delete_push(sessions=digests)
    if digests:
        _announce("sessions", digests)


def on_user_saved(sender: object, *, instance: Any, created: bool, **_: object) -> None:
    """Check the user's connections after a new password or a deactivation; other changes are no reason."""
    # Django clears `_password`, which `set_password` has set, after the signal.
    has_new_password = getattr(instance, "_password", None) is not None
    if not created and (has_new_password or not is_active(instance)):
        _announce("users", [key_of(instance)])


def on_user_deleted(sender: object, *, instance: Any, **_: object) -> None:
    """Close the user's connections, and forget the user's browsers."""
    _announce("users", [key_of(instance)])
    _delete_push(topic=user_topic(instance.pk))


def _announce(kind: str, names: list[str]) -> None:
    announce([Envelope(topics=(RIGHTS,), event=Event(topic=RIGHTS, name="ended", data={kind: names}))])


def _delete_push(**which: Any) -> None:
    if options() is None:
        return
    try:
        store.delete_push_of(**which)
    except DatabaseError:
        # A sign-out does not fail for it. The rights of the user are asked again before anything is sent.
        logger.exception("Browsers that web push sends to can't be deleted.")
