"""The ends of rights: web processes are told, so that they close the connections concerned. Connected by `apps.py`.

A sign-out names its session, whose connections are closed at once. A user who has a new password, was deactivated or
was deleted is checked at once. Web processes check all users regularly too (`live.rights_checker`), for what sends no
signal, such as `QuerySet.update`, and for messages that are lost.
"""

from typing import Any

from telltale.core.topics import RIGHTS
from telltale.core.wire import Envelope, Event
from telltale.live.rights import is_active, key_of, session_digests
from telltale.messages import announce
from telltale.owners import django_request


def on_sign_out(sender: object, *, request: Any = None, **_: object) -> None:
    """Close the connections of the session."""
    digests = session_digests(getattr(django_request(request), "session", None))
    if digests:
        _announce("sessions", digests)


def on_user_saved(sender: object, *, instance: Any, created: bool, **_: object) -> None:
    """Check the user's connections after a new password or a deactivation; other changes are no reason."""
    # Django clears `_password`, which `set_password` has set, after the signal.
    has_new_password = getattr(instance, "_password", None) is not None
    if not created and (has_new_password or not is_active(instance)):
        _announce("users", [key_of(instance)])


def on_user_deleted(sender: object, *, instance: Any, **_: object) -> None:
    """Close the user's connections."""
    _announce("users", [key_of(instance)])


def _announce(kind: str, names: list[str]) -> None:
    announce([Envelope(topics=(RIGHTS,), event=Event(topic=RIGHTS, name="ended", data={kind: names}))])
