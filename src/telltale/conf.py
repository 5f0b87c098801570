"""The one settings dict, `TELLTALE`: every key, its unit, its default.

`checks.py` reports wrong keys and values with the mend; code asks `conf.settings()`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any

from django.conf import settings as django_settings
from django.core.signals import setting_changed


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`TELLTALE` with its defaults filled in; a key is a field's name in capitals. `_s` is seconds."""

    broker: str = "local://"
    """A URL: `local://`, `memory://`, `none://`, `postgres://…`, or `dotted.path.to.Broker` (with `?` options)."""
    runners: tuple[str, ...] | None = None
    """Names of runners to install; None: all that are importable here."""
    follow: Mapping[str, str | None] = field(default_factory=dict)
    """Names of tasks that can't be edited, as patterns such as "newsletter.tasks.*", each with its label or None."""
    database: str = "default"
    """The alias of the database that holds Telltale's tables."""

    beat_s: float = 8.0
    """A worker renews its leases this often."""
    stalled_s: float = 45.0
    """Without a beat for this long a task shows "lost contact"."""
    lease_s: float = 105.0
    """Without a beat for this long a task is lost."""
    quiet_s: float = 60.0
    """Alive, but without progress for this long, a task shows "still working"."""
    publish_every_s: float = 0.1
    """How often the reporter looks at its trackers while something changes."""
    save_every_s: float = 2.0
    """How often a task that moves is saved."""
    end_patience_s: float = 30.0
    """How long a task's end is retried while the database is away, before the runner moves on."""

    waiting_every_s: float | None = 5.0
    """How often a runner is asked why a watched task waits; None: never."""
    keep_ended_s: float = 30 * 86_400.0
    """How long ended tasks and shown messages are kept."""
    keep_untold_s: float = 90 * 86_400.0
    """How long a message that nobody has seen is kept, and with it the task that it is about."""
    keep_queued_s: float = 7 * 86_400.0
    """After this a task that nobody has begun is given up; counted from when it was due."""
    prune_every_s: float | None = 3_600.0
    """How often a worker process deletes what is kept no longer; None: only `manage.py telltale prune` does."""

    ticket_s: float = 300.0
    """How long a ticket is good for; it is renewed silently."""
    can_follow: str | None = None
    """Dotted path of `(request, topic) -> bool`, asked for what is not the asker's own."""
    long_poll_s: float = 25.0
    """How long a poll may be held open under ASGI."""
    poll_s: float = 2.0
    """How often clients poll where a poll can't be held."""
    recheck_s: float | None = None
    """How often watched tasks are re-read; None: as the broker's reach asks (2 s, or 15 s site-wide)."""
    connections: int = 20_000
    """Live connections that one web process takes: as many as can all come back to it within half a minute."""
    connections_per_address: int = 10_000
    """Live connections from one network address to one web process; behind a proxy all may have its address."""
    connections_per_user: int = 20
    """Live connections one person may have in one web process."""
    show_ended_s: float = 86_400.0
    """How long an ended task stays in its owner's tray and live snapshot."""


FIELD_BY_KEY = {field.name.upper(): field.name for field in fields(Settings)}


@cache
def settings() -> Settings:
    """The present settings; unknown keys are left to the system check."""
    given: dict[str, Any] = getattr(django_settings, "TELLTALE", {})
    return Settings(**{FIELD_BY_KEY[key]: value for key, value in given.items() if key in FIELD_BY_KEY})


def _forget(*, setting: str, **_: object) -> None:
    if setting == "TELLTALE":
        settings.cache_clear()


setting_changed.connect(_forget, dispatch_uid="telltale.conf")
