"""System checks: each wrong setting is said before it does harm, with the mend.

`E`: Telltale can't do what it promises; `W`: it can, but worse than it could. Registered by being imported
(`apps.py`); they look at settings only, never at the database.
"""

import sqlite3
import types
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

from django.apps import apps
from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.urls import NoReverseMatch, reverse
from django.utils.module_loading import import_string

from telltale import brokers, conf
from telltale.conf import FIELD_BY_KEY, Settings

MIDDLEWARE: Final = "telltale.owners.OwnerMiddleware"
DRAMATIQ_MIDDLEWARE: Final = "telltale.runners.dramatiq.TelltaleMiddleware"
SESSIONS: Final = "django.contrib.sessions.middleware.SessionMiddleware"
AUTHENTICATION: Final = "django.contrib.auth.middleware.AuthenticationMiddleware"

SQLITE: Final = (3, 33)
"""The first version that updates from a table of values."""

_TYPES: Final = get_type_hints(Settings)
_IN_WORDS: Final = {
    Mapping: "a dict",
    str: "text",
    int: "a whole number",
    float: "a number",
    tuple: "a tuple or list of texts",
}


@register("telltale")
def check_settings(**_: Any) -> list[CheckMessage]:
    """The `TELLTALE` dict: known keys, fitting values, durations in their order."""
    given = getattr(django_settings, "TELLTALE", {})
    if not isinstance(given, dict):
        return [
            Error(f"TELLTALE is {given!r}, not a dict.", hint='Write TELLTALE = {"BROKER": "local://"}.', id=_id(1))
        ]
    wrong = [*_unknown_keys(given), *_wrong_values(given)]
    # The rest reads the settings as a whole, which is only possible while each is what it should be.
    return wrong or [*_order(conf.settings()), *_broker(conf.settings()), *_references(conf.settings())]


@register("telltale")
def check_urls(**_: Any) -> list[CheckMessage]:
    """Whether Telltale's addresses are part of the site's."""
    if not getattr(django_settings, "ROOT_URLCONF", None):
        return []
    try:
        reverse("telltale:live")
    except NoReverseMatch:
        hint = 'Add path("telltale/", include("telltale.urls")) to the urlpatterns of ROOT_URLCONF.'
        return [Error("Telltale's addresses are not part of this site.", hint=hint, id=_id(6))]
    return []


@register("telltale")
def check_middleware(**_: Any) -> list[CheckMessage]:
    """Whether a task that a view starts is known to be its asker's."""
    present = list(django_settings.MIDDLEWARE)
    if MIDDLEWARE not in present:
        hint = f"Add {MIDDLEWARE!r} to MIDDLEWARE, after sessions and authentication."
        said = "A task that a view starts by .delay() or .enqueue() will belong to nobody."
        return [Warning(said, hint=hint, id="telltale.W001")]
    late = [m for m in (SESSIONS, AUTHENTICATION) if m in present[present.index(MIDDLEWARE) :]]
    if late:
        hint = f"Move {MIDDLEWARE!r} below {late[-1]!r} in MIDDLEWARE."
        return [Warning(f"{MIDDLEWARE} comes before {late[-1]}, on which it depends.", hint=hint, id="telltale.W002")]
    return []


@register("telltale")
def check_dramatiq(**_: Any) -> list[CheckMessage]:
    """Whether Dramatiq's messages, if it is used through django-dramatiq, are seen."""
    if not apps.is_installed("django_dramatiq"):
        return []
    present = list(getattr(django_settings, "DRAMATIQ_BROKER", {}).get("MIDDLEWARE", []))
    if present[:1] == [DRAMATIQ_MIDDLEWARE]:
        return []
    said = "Actors' runs will not be shown" if DRAMATIQ_MIDDLEWARE not in present else "Pipelines will lose their owner"
    hint = f"Put {DRAMATIQ_MIDDLEWARE!r} first into DRAMATIQ_BROKER['MIDDLEWARE']."
    return [Warning(f"{said}: Telltale's middleware for Dramatiq is not its first.", hint=hint, id="telltale.W006")]


@register("telltale")
def check_sqlite(**_: Any) -> list[CheckMessage]:
    """Whether SQLite, if it is used, lets workers and pages go on beside each other."""
    alias = conf.settings().database if not list(_wrong_values(_given())) else "default"
    database = django_settings.DATABASES.get(alias, {})
    if not str(database.get("ENGINE", "")).endswith("sqlite3"):
        return []
    return list(_sqlite(alias, database))


def _sqlite(alias: str, database: dict[str, Any]) -> Iterator[CheckMessage]:
    options, place = database.get("OPTIONS", {}), f'DATABASES["{alias}"]["OPTIONS"]'
    if str(options.get("transaction_mode", "")).upper() not in {"IMMEDIATE", "EXCLUSIVE"}:
        yield Warning(
            f"SQLite ({alias!r}) begins transactions as readers: of two that go on to write, one finds it locked.",
            hint=f'Set {place}["transaction_mode"] = "IMMEDIATE".',
            id="telltale.W003",
        )
    if "wal" not in str(options.get("init_command", "")).lower():
        yield Warning(
            f"SQLite ({alias!r}) is not told to keep a write-ahead log: whoever writes makes all readers wait.",
            hint=f'Set {place}["init_command"] = "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;".',
            id="telltale.W004",
        )
    if sqlite3.sqlite_version_info < SQLITE:
        wanted, found = ".".join(map(str, SQLITE)), sqlite3.sqlite_version
        yield Error(
            f"SQLite ({alias!r}) is version {found}; saving many tasks at once needs {wanted}.",
            hint="Use a Python that is built with a newer one, or another database.",
            id=_id(8),
        )
    if database.get("ATOMIC_REQUESTS"):
        yield Warning(
            f"ATOMIC_REQUESTS holds SQLite's only write lock ({alias!r}) for as long as a view takes.",
            hint="Use transaction.atomic() around what must be one, and leave ATOMIC_REQUESTS off.",
            id="telltale.W005",
        )


def _given() -> dict[str, Any]:
    given = getattr(django_settings, "TELLTALE", {})
    return given if isinstance(given, dict) else {}


def _unknown_keys(given: dict[str, Any]) -> Iterator[CheckMessage]:
    for key in given:
        if key in FIELD_BY_KEY:
            continue
        near = get_close_matches(str(key).upper(), FIELD_BY_KEY, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"The keys are {', '.join(sorted(FIELD_BY_KEY))}."
        yield Error(f"TELLTALE has the key {key!r}, which means nothing here.", hint=hint, id=_id(1))


def _wrong_values(given: dict[str, Any]) -> Iterator[CheckMessage]:
    for key, value in given.items():
        if key not in FIELD_BY_KEY:
            continue
        kinds, default = _kinds(_TYPES[FIELD_BY_KEY[key]]), getattr(Settings(), FIELD_BY_KEY[key])
        hint = f"Leave it out, and it is {default!r}."
        if not any(_is(value, kind) for kind in kinds):
            wanted = " or ".join("None" if kind is type(None) else _IN_WORDS[kind] for kind in kinds)
            yield Error(f"TELLTALE[{key!r}] is {value!r}, and should be {wanted}.", hint=hint, id=_id(2))
        elif isinstance(value, int | float) and not 0 < value < float("inf"):
            yield Error(f"TELLTALE[{key!r}] is {value!r}, and should be above 0 and finite.", hint=hint, id=_id(2))


def _kinds(hint: Any) -> tuple[type, ...]:
    """`float | None` as (float, NoneType), `tuple[str, ...] | None` as (tuple, NoneType)."""
    options = get_args(hint) if get_origin(hint) in {types.UnionType, Union} else (hint,)
    return tuple(get_origin(option) or option for option in options)


def _is(value: Any, kind: type) -> bool:
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind is tuple:
        return isinstance(value, tuple | list) and all(isinstance(one, str) for one in value)
    return isinstance(value, kind) and not (kind is int and isinstance(value, bool))


def _order(s: Settings) -> Iterator[CheckMessage]:
    if s.beat_s < s.stalled_s < s.lease_s:
        return
    yield Error(
        f"The settings say BEAT_S = {s.beat_s:g}, STALLED_S = {s.stalled_s:g}, LEASE_S = {s.lease_s:g}: "
        "a healthy task would look lost.",
        hint="BEAT_S must be below STALLED_S (by a few beats, for a beat may be late), and that below LEASE_S.",
        id=_id(4),
    )


def _broker(s: Settings) -> Iterator[CheckMessage]:
    try:
        brokers.build(s.broker)
    except Exception as error:
        # Brokers are anyone's code: whatever they raise at a URL that they can't serve, the URL is what to mend.
        known = ", ".join(f"{scheme}://" for scheme in sorted(brokers.SCHEMES))
        yield Error(str(error), hint=f"Use one of {known}, or the dotted path of a broker class.", id=_id(3))


def _references(s: Settings) -> Iterator[CheckMessage]:
    if s.database not in django_settings.DATABASES:
        known = ", ".join(django_settings.DATABASES)
        said = f"TELLTALE['DATABASE'] is {s.database!r}, which DATABASES does not have."
        yield Error(said, hint=f"Use one of {known}.", id=_id(5))
    if s.can_follow is not None:
        try:
            hook = import_string(s.can_follow)
        except ImportError as error:
            hook, why = None, str(error)
        else:
            why = "It is not callable."
        if not callable(hook):
            hint = f"{why} Give the dotted path of a function (request, topic) -> bool."
            yield Error(f"TELLTALE['CAN_FOLLOW'] is {s.can_follow!r}, which can't be asked.", hint=hint, id=_id(7))


def _id(number: int) -> str:
    return f"telltale.E{number:03}"
