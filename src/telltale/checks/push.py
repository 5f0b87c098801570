"""System checks of the setting `PUSH`: whole, with usable keys, and with what they need."""

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import Any

from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Warning, register

from telltale.checks.settings import given_settings
from telltale.core.push import is_service
from telltale.push.options import (
    INSTALL,
    KEYS,
    SUBJECT_HINT,
    WrongKey,
    WrongSubject,
    new_private_key,
    public_key_of,
    read,
)
from telltale.push.sender import signature

KEYS_HINT = "`manage.py telltale push-keys` makes a key and prints the setting. docs/push.md says what each key is for."


@register("telltale")
def check_push(**_: Any) -> list[CheckMessage]:
    """Check `PUSH`, if it is a dict; `check_settings` reports other values."""
    given = given_settings().get("PUSH")
    return [*_values(given), *_site()] if isinstance(given, Mapping) else []


def _values(given: Mapping[str, Any]) -> Iterator[CheckMessage]:
    for key in given.keys() - set(KEYS):
        yield _error(f"has the unknown key {key!r}.", f"The keys are {', '.join(KEYS)}.")
    if find_spec("pywebpush") is None:
        yield _error("is set, but pywebpush is not installed: nothing is pushed.", f"{INSTALL}.")
        return
    yield from _private_key(given.get("VAPID_PRIVATE_KEY"))
    subject = given.get("VAPID_SUBJECT")
    if not isinstance(subject, str) or not _is_accepted(subject):
        yield _error(f"has the VAPID_SUBJECT {subject!r}.", SUBJECT_HINT)
    after_s = given.get("AFTER_S", 1)
    if isinstance(after_s, bool) or not isinstance(after_s, int | float) or not 0.1 <= after_s <= 86_400:
        yield _error(f"has AFTER_S = {after_s!r}.", "Use seconds, 0.1 to 86,400. Without this key, it is 10.")
    services = given.get("SERVICES", ())
    if not isinstance(services, list | tuple) or not all(is_service(service) for service in services):
        hint = 'Use a list of hosts, such as "push.example.org" or "*.example.org", or of origins: "https://host:port".'
        yield _error(f"has SERVICES = {services!r}.", hint)


def _is_accepted(subject: str) -> bool:
    """Whether the library signs with this subject."""
    values = read({"VAPID_PRIVATE_KEY": new_private_key(), "VAPID_SUBJECT": subject})
    try:
        signature("https://push.example.org", values)
    except WrongSubject:
        return False
    return True


def _private_key(key: object) -> Iterator[CheckMessage]:
    # The message must not show the key.
    if not isinstance(key, str) or not key:
        yield _error("has no VAPID_PRIVATE_KEY: nothing is pushed.", KEYS_HINT)
        return
    try:
        public_key_of(key)
    except WrongKey as error:
        yield _error(f"has a VAPID_PRIVATE_KEY that can't be used. {error}", KEYS_HINT)


def _site() -> Iterator[CheckMessage]:
    if not (django_settings.SESSION_COOKIE_SECURE or django_settings.SECURE_SSL_REDIRECT or django_settings.DEBUG):
        yield Warning(
            "TELLTALE['PUSH'] is set, but nothing says that the site uses https. On pages of plain HTTP, browsers "
            "offer no notifications and no push.",
            hint="Serve the site by https, and set SESSION_COOKIE_SECURE = True.",
            id="telltale.W013",
        )


def _error(problem: str, hint: str) -> CheckMessage:
    return Error(f"TELLTALE['PUSH'] {problem}", hint=hint, id="telltale.E022")
