"""What each key of an app's settings may hold, and the field of `PusherApp` that it sets. Pure.

A wrong value becomes a `Problem`, and no text shows a secret.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from difflib import get_close_matches
from typing import Any, Final, get_type_hints
from urllib.parse import urlsplit

from telltale.pusher.pusher_apps import WEBHOOK_EVENTS, AppLimits, PusherApp, WebhookTarget


@dataclass(frozen=True, slots=True)
class Problem:
    """A wrong value: the text names it and the rule, the hint names the fix."""

    text: str
    hint: str


class WrongPart(ValueError):
    """Problems within a value that has parts; their texts begin with the place in the value."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__()
        self.problems = problems

    def below(self, place: str) -> list[Problem]:
        """Return the problems, with a longer place."""
        return [Problem(f"{place}{problem.text}", problem.hint) for problem in self.problems]


@dataclass(frozen=True, slots=True)
class Rule:
    """How the value of one key is read into one field."""

    field: str
    read: Callable[[Any], Any]
    """Raises `ValueError` for a wrong value."""
    expected: str
    is_secret: bool = False


def _digits(value: object) -> str:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or re.fullmatch(r"[0-9]{1,32}", text) is None:
        raise ValueError
    return text


def _name(value: object) -> str:
    if not isinstance(value, str) or re.fullmatch(r"[!-~]{1,255}", value) is None or set(value) & set(":/@?#%&"):
        raise ValueError
    return value


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError
    return value


def _count_or_none(value: object) -> int | None:
    return None if value is None else _count(value)


def _seconds(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < float("inf"):
        raise ValueError
    return float(value)


def _limits(value: object) -> AppLimits:
    return AppLimits(**_read_part(value, LIMITS))


def _webhooks(value: object) -> tuple[WebhookTarget, ...]:
    if not isinstance(value, list | tuple):
        raise ValueError
    return tuple(_webhook(target, f"[{number}]") for number, target in enumerate(value))


def _webhook(value: object, place: str) -> WebhookTarget:
    try:
        values = _read_part({"URL": value} if isinstance(value, str) else value, WEBHOOK_RULES)
    except WrongPart as error:
        raise WrongPart(error.below(place)) from None
    if "url" not in values:
        raise WrongPart([Problem(f"{place} has no 'URL'.", f"Add 'URL': {WEBHOOK_RULES['URL'].expected}.")])
    return WebhookTarget(**values)


def _url(value: object) -> str:
    if not isinstance(value, str) or not value.isprintable() or " " in value:
        raise ValueError
    try:
        parts = urlsplit(value)
        is_valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_valid = False
    if not is_valid:
        raise ValueError  # Without the cause, whose text may hold a password.
    return value


def _events(value: object) -> frozenset[str] | None:
    if value is None:
        return None
    if not isinstance(value, list | tuple | set | frozenset):
        raise ValueError
    if not all(name in list(WEBHOOK_EVENTS) for name in value):
        raise ValueError
    return frozenset(value)


def _headers(value: object) -> tuple[tuple[str, str], ...]:
    pairs = tuple(value.items()) if isinstance(value, Mapping) else None
    if pairs is None or not all(isinstance(text, str) and text.isprintable() for pair in pairs for text in pair):
        raise ValueError
    return pairs


_NAME: Final = "letters, digits and marks of ASCII, without : / @ ? # % & and spaces"
_NUMBER: Final = "an integer above 0"
_SECONDS: Final = "seconds, 0 or more"
_YES_OR_NO: Final = "True or False"
_WEBHOOKS: Final = "a list of addresses, or of dicts with 'URL', 'EVENTS' and 'HEADERS'"

RULES: Final = {
    "ID": Rule("id", _digits, "a string of digits, such as '1', because server libraries refuse others"),
    "KEY": Rule("key", _name, _NAME),
    "SECRET": Rule("secret", _name, _NAME, is_secret=True),
    "IS_ENABLED": Rule("is_enabled", _boolean, _YES_OR_NO),
    "TLS_ONLY": Rule("is_tls_only", _boolean, _YES_OR_NO),
    "CLIENT_EVENTS": Rule("has_client_events", _boolean, _YES_OR_NO),
    "SUBSCRIPTION_COUNTS": Rule("has_subscription_counts", _boolean, _YES_OR_NO),
    "WATCHLISTS": Rule("has_watchlists", _boolean, _YES_OR_NO),
    "ACTIVITY_TIMEOUT_S": Rule("activity_timeout_s", _count, _NUMBER),
    "CACHE_S": Rule("cache_s", _seconds, _SECONDS),
    "WEBHOOK_SETTLE_S": Rule("webhook_settle_s", _seconds, _SECONDS),
    "LIMITS": Rule("limits", _limits, "a dict such as {'EVENT_BYTES': 20_000}"),
    "WEBHOOKS": Rule("webhooks", _webhooks, _WEBHOOKS, is_secret=True),
}
"""The keys of an app. Defaults: `PusherApp`."""

LIMITS: Final = {
    limit.name.upper(): Rule(limit.name, _count_or_none, f"{_NUMBER}, or None")
    if type(None) in getattr(get_type_hints(AppLimits)[limit.name], "__args__", ())
    else Rule(limit.name, _count, _NUMBER)
    for limit in fields(AppLimits)
}
"""The keys of an app's LIMITS. Defaults: `AppLimits`."""

WEBHOOK_RULES: Final = {
    "URL": Rule("url", _url, "an http:// or https:// address", is_secret=True),
    "EVENTS": Rule("events", _events, f"a list of {', '.join(sorted(WEBHOOK_EVENTS))}, or None for all"),
    "HEADERS": Rule("headers", _headers, "a dict of strings", is_secret=True),
}
"""The keys of a webhook. Its address and headers may hold passwords."""


def read_fields(
    given: Mapping[Any, Any], rules: Mapping[str, Rule], place: str, problems: list[Problem]
) -> dict[str, Any]:
    """Return the values by field, and add the problems."""
    values = {}
    for key, value in given.items():
        rule = rules.get(key)
        if rule is None:
            similar = get_close_matches(str(key).upper(), rules, n=1)
            hint = f"Did you mean {similar[0]!r}?" if similar else f"The keys are {', '.join(rules)}."
            problems.append(Problem(f"{place} has the unknown key {key!r}.", hint))
            continue
        try:
            values[rule.field] = rule.read(value)
        except WrongPart as error:
            problems += error.below(f"{place}[{key!r}]")
        except ValueError:
            is_value = "is wrong" if rule.is_secret else f"is {value!r}"
            problems.append(Problem(f"{place}[{key!r}] {is_value}; it must be {rule.expected}.", _hint(rule.field)))
    return values


_DEFAULTS: Final = {
    field.name: field.default for owner in (PusherApp, AppLimits, WebhookTarget) for field in fields(owner)
}


def _hint(field: str) -> str:
    default = _DEFAULTS[field]
    if default is MISSING:
        return "Correct it here, and wherever clients and servers are configured with it."
    return f"Without this key, it is {'{}' if isinstance(default, AppLimits) else repr(default)}."


def _read_part(value: object, rules: Mapping[str, Rule]) -> dict[str, Any]:
    """Return the values of a nested dict by field; raises `ValueError` with the first problem."""
    if not isinstance(value, Mapping):
        raise ValueError
    problems: list[Problem] = []
    values = read_fields(value, rules, "", problems)
    if problems:
        raise WrongPart(problems)
    return values
