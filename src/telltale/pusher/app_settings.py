"""Apps as a site writes them down, in settings or in a table, become `PusherApp` values. Pure.

    {"ID": "1", "KEY": "app-key", "SECRET": "app-secret", "CLIENT_EVENTS": False, "LIMITS": {"EVENT_BYTES": 20_000}}

The keys and their values: `app_rules.py`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from telltale.pusher.app_rules import LIMITS, RULES, Problem, read_fields
from telltale.pusher.pusher_apps import PusherApp


@dataclass(slots=True)
class ReadApps:
    """The valid apps among those that were given, in their order, and the problems of the others."""

    apps: list[PusherApp] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def read_apps(given: Iterable[object], name: str) -> ReadApps:
    """Read dicts of settings, or `PusherApp` values; `name`: of the list, for texts."""
    result = ReadApps()
    taken: dict[tuple[str, str], str] = {}
    for number, entry in enumerate(given):
        place = f"{name}[{number}]"
        app, problems = read_app(_as_settings(entry), place)
        if app is not None:
            problems = list(_duplicates(app, place, taken))
        result.problems += problems
        if app is not None and not problems:
            result.apps.append(entry if isinstance(entry, PusherApp) else app)
            taken |= {("ID", app.id): place, ("KEY", app.key): place}
    return result


def read_app(given: object, place: str) -> tuple[PusherApp | None, list[Problem]]:
    """Return the app, or None and the problems. `place`: of the app, for texts."""
    if not isinstance(given, Mapping):
        hint = 'For example: {"ID": "1", "KEY": "app-key", "SECRET": "app-secret"}.'
        return None, [Problem(f"{place} has the type {type(given).__name__}; it must be a dict.", hint)]
    problems: list[Problem] = []
    values = read_fields(given, RULES, place, problems)
    problems += [
        Problem(f"{place} has no {key!r}.", f"Add {key!r}: {RULES[key].expected}.")
        for key in ("ID", "KEY", "SECRET")
        if key not in given
    ]
    return (None if problems else PusherApp(**values)), problems


def _duplicates(app: PusherApp, place: str, taken: Mapping[tuple[str, str], str]) -> Iterable[Problem]:
    for key, value in (("ID", app.id), ("KEY", app.key)):
        if (key, value) in taken:
            text = f"{place}[{key!r}] is {value!r}, as in {taken[key, value]}."
            yield Problem(text, f"Each app needs {'an ID' if key == 'ID' else 'a KEY'} of its own.")


def _as_settings(entry: object) -> object:
    """Return an app of a site's own function as settings, so that the same rules hold for its values."""
    if not isinstance(entry, PusherApp):
        return entry
    limits = {key: getattr(entry.limits, rule.field) for key, rule in LIMITS.items()}
    webhooks = [
        {"URL": target.url, "EVENTS": target.events, "HEADERS": dict(target.headers)} for target in entry.webhooks
    ]
    values = {key: getattr(entry, rule.field) for key, rule in RULES.items()}
    return {**values, "LIMITS": limits, "WEBHOOKS": webhooks}
