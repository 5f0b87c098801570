"""System checks of the `TELLTALE` dict: known keys, values of the right types, and what the values name."""

import types
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, Union, get_args, get_origin, get_type_hints
from urllib.parse import unquote, urlsplit

from django.apps import apps
from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from telltale import authentication, brokers, conf
from telltale.brokers.base import BrokerUnavailable
from telltale.brokers.local.directory import SocketDirectory, default_path
from telltale.checks.bounds import check_bounds
from telltale.conf import FIELD_BY_KEY, Settings
from telltale.core import origins
from telltale.pusher import app_registry, app_settings
from telltale.pusher.publisher.checks import check_publisher

PUSHER_TABLE: Final = "telltale.pusher.models.apps"

_TYPES: Final = get_type_hints(Settings)
_TYPE_NAMES: Final = {
    Mapping: "a dict",
    bool: "True or False",
    str: "a string",
    int: "an integer",
    float: "a number",
    tuple: "a tuple or list of strings",
}

_CHECKED_APART: Final = {"PUSHER_APPS"}
"""Keys whose values have a form of their own."""


@register("telltale")
def check_settings(**_: Any) -> list[CheckMessage]:
    """Check the `TELLTALE` dict: known keys, values of the right type, within bounds and in order."""
    given = getattr(django_settings, "TELLTALE", {})
    if not isinstance(given, dict):
        return [
            Error(
                f"TELLTALE is {given!r}; it must be a dict.",
                hint='For example: TELLTALE = {"BROKER": "local://"}.',
                id=_id(1),
            )
        ]
    errors = [*_unknown_keys(given), *wrong_values(given), *_sign_messages(given)]
    # The other checks need all settings to have the right types.
    settings = conf.settings()
    return errors or [
        *check_bounds(settings),
        *_follow(settings),
        *_broker(settings),
        *_references(settings),
        *check_publisher(settings),
    ]


@register("telltale")
def check_pusher_apps(**_: Any) -> list[CheckMessage]:
    """Check the apps of the Pusher stand-in. A function that returns them is not called, as it may use the database."""
    given = given_settings().get("PUSHER_APPS")
    if isinstance(given, list | tuple):
        read = app_settings.read_apps(given, app_registry.SETTING)
        return [Error(problem.text, hint=problem.hint, id=_id(9)) for problem in read.problems]
    try:
        app_registry.build(given)
    except ImproperlyConfigured as error:
        hint = 'For example: "PUSHER_APPS": [{"ID": "1", "KEY": "app-key", "SECRET": "app-secret"}].'
        return [Error(str(error), hint=hint, id=_id(9))]
    if given == PUSHER_TABLE and not apps.is_installed("telltale.pusher"):
        message = f"{app_registry.SETTING} is {given!r}, but the app that has this table is not installed."
        return [Error(message, hint="Add 'telltale.pusher' to INSTALLED_APPS, and migrate.", id=_id(9))]
    return []


def given_settings() -> dict[str, Any]:
    given = getattr(django_settings, "TELLTALE", {})
    return given if isinstance(given, dict) else {}


def _unknown_keys(given: dict[str, Any]) -> Iterator[CheckMessage]:
    for key in given:
        if key in FIELD_BY_KEY:
            continue
        similar = get_close_matches(str(key).upper(), FIELD_BY_KEY, n=1)
        hint = f"Did you mean {similar[0]!r}?" if similar else f"The keys are {', '.join(sorted(FIELD_BY_KEY))}."
        yield Error(f"TELLTALE has the unknown key {key!r}.", hint=hint, id=_id(1))


def wrong_values(given: dict[str, Any]) -> Iterator[CheckMessage]:
    for key, value in given.items():
        if key not in FIELD_BY_KEY or key in _CHECKED_APART:
            continue
        kinds, default = _kinds(_TYPES[FIELD_BY_KEY[key]]), getattr(Settings(), FIELD_BY_KEY[key])
        hint = f"Without this key, it is {default!r}."
        if not any(_is(value, kind) for kind in kinds):
            expected = " or ".join("None" if kind is type(None) else _TYPE_NAMES[kind] for kind in kinds)
            yield Error(f"TELLTALE[{key!r}] is {value!r}; it must be {expected}.", hint=hint, id=_id(2))
        elif isinstance(value, int | float) and not isinstance(value, bool) and not 0 < value < float("inf"):
            yield Error(f"TELLTALE[{key!r}] is {value!r}; it must be above 0 and finite.", hint=hint, id=_id(2))


def _sign_messages(given: dict[str, Any]) -> Iterator[CheckMessage]:
    value = given.get("SIGN_MESSAGES")
    if isinstance(value, str) and value != "accept":
        hint = 'Use True, False or "accept". Without this key, messages are signed where a broker may be shared.'
        yield Error(f"TELLTALE['SIGN_MESSAGES'] is {value!r}, which is unknown.", hint=hint, id=_id(2))


def _kinds(hint: Any) -> tuple[type, ...]:
    """The types of a hint: (float, NoneType) for `float | None`, (tuple, NoneType) for `tuple[str, ...] | None`."""
    options = get_args(hint) if get_origin(hint) in {types.UnionType, Union} else (hint,)
    return tuple(get_origin(option) or option for option in options)


def _is(value: Any, kind: type) -> bool:
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind is tuple:
        return isinstance(value, tuple | list) and all(isinstance(item, str) for item in value)
    return isinstance(value, kind) and not (kind is int and isinstance(value, bool))


def _follow(settings: Settings) -> Iterator[CheckMessage]:
    given: Mapping[Any, Any] = settings.follow
    for pattern, label in given.items():
        if not isinstance(pattern, str) or not isinstance(label, str | None):
            yield Error(
                f"TELLTALE['FOLLOW'] has {pattern!r}: {label!r}, which is no name pattern with a label.",
                hint='For example: {"newsletter.tasks.*": "Newsletter"}; a label of None is made from the name.',
                id=_id(2),
            )


def _broker(settings: Settings) -> Iterator[CheckMessage]:
    try:
        brokers.build(settings.broker)
    except Exception as error:
        # A third-party broker may raise any exception for a wrong URL; the setting must be corrected in each case.
        known = ", ".join(f"{scheme}://" for scheme in sorted(brokers.SCHEMES))
        yield Error(str(error), hint=f"Use one of {known}, or the dotted path of a broker class.", id=_id(3))
        return
    yield from _local_directory(settings.broker)


def _local_directory(url: str) -> Iterator[CheckMessage]:
    """Whether this process may use the directory of `local://`; only if it exists already."""
    if not url.startswith("local://"):
        return
    path = unquote(urlsplit(url).path)
    try:
        SocketDirectory(Path(path) if path.strip("/") else default_path()).version()
    except BrokerUnavailable as error:
        hint = "Until then, pages get updates later, from the database."
        yield Warning(f"TELLTALE['BROKER'] is {url!r}: {error}", hint=hint, id="telltale.W011")


@register("telltale", deploy=True)
def check_reach(**_: Any) -> list[CheckMessage]:
    """Check, for `check --deploy`, that updates leave the process that publishes them."""
    if given_settings().get("BROKER") != "memory://":
        return []
    return [
        Warning(
            "TELLTALE['BROKER'] is 'memory://', which reaches this process only: pages get what workers and other web "
            "processes publish later, from the database.",
            hint="Use local:// on one machine, or redis:// or postgres:// on several: docs/brokers.md.",
            id="telltale.W012",
        )
    ]


def _references(settings: Settings) -> Iterator[CheckMessage]:
    if settings.database not in django_settings.DATABASES:
        known = ", ".join(django_settings.DATABASES)
        message = f"TELLTALE['DATABASE'] is {settings.database!r}, which is not in DATABASES."
        yield Error(message, hint=f"Use one of {known}.", id=_id(5))
    yield from _hook("CAN_FOLLOW", settings.can_follow, "(request, topic) -> bool")
    yield from _hook("CAN_ACT", settings.can_act, "(request, topic, action) -> bool")
    yield from _hook("SHOWN_ARGUMENTS", settings.shown_arguments, "(task, arguments) -> arguments or None")
    yield from _hook("UNSEEN", settings.unseen, "(user, notices) -> bool or None")
    yield from _authentication(settings)
    for origin in settings.allowed_origins:
        if not origins.is_valid(origin):
            hint = 'Use scheme://host[:port] without a path, such as "https://app.example.com", or "*".'
            yield Error(f"TELLTALE['ALLOWED_ORIGINS'] has {origin!r}, which is no origin.", hint=hint, id=_id(14))


def _hook(key: str, path: str | None, signature: str) -> Iterator[CheckMessage]:
    if path is None:
        return
    try:
        hook = import_string(path)
    except ImportError as error:
        hook, reason = None, str(error)
    else:
        reason = "It is not callable."
    if not callable(hook):
        hint = f"{reason} Use the dotted path of a function {signature}."
        yield Error(f"TELLTALE[{key!r}] is {path!r}, which can't be called.", hint=hint, id=_id(7))


def _authentication(settings: Settings) -> Iterator[CheckMessage]:
    for path in settings.authentication:
        try:
            authentication.authenticator(path)
        except Exception as error:
            # The module may raise anything while it is imported.
            hint = "Use the dotted path of an authentication class, or of a function request -> user."
            yield Error(f"TELLTALE['AUTHENTICATION'] has {path!r}, which can't be used: {error}", hint=hint, id=_id(13))


def _id(number: int) -> str:
    return f"telltale.E{number:03}"
