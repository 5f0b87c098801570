"""The settings dict `TELLTALE`: every key, its unit and its default.

Code reads `conf.settings()`. `checks/` reports wrong keys and values.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any

from django.conf import settings as django_settings
from django.core.signals import setting_changed

from telltale.core.health import Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`TELLTALE` with defaults filled in. A key is a field's name in upper case; `_S` means seconds."""

    broker: str = "local://"
    """A URL: `local://`, `memory://`, `none://`, `postgres://…`, `redis://…`, `channels://ALIAS`, `pusher://…`, or a
    dotted path with options, such as `mysite.brokers.Broker?option=value`."""
    sign_messages: bool | str | None = None
    """Whether the broker's messages are signed by the site's key, and others are skipped. None: where a service may be
    shared (Redis, PostgreSQL, a Channels layer). "accept": they are signed, and unsigned ones are read too, for the
    time in which some processes do not sign yet."""
    runners: tuple[str, ...] | None = None
    """Names of the runners to install; None: all that can be imported."""
    follow: Mapping[str, str | None] = field(default_factory=dict)
    """Tasks to track without a decorator: name patterns such as "newsletter.tasks.*", each with its label or None."""
    database: str = "default"
    """The alias of the database with Telltale's tables. Users must be written to the same one, because its transactions
    decide whether a task starts. All reads go there too, even if a router sends reads to replicas."""

    beat_s: float = 8.0
    """A worker renews its leases this often."""
    stalled_s: float = 45.0
    """A running task without a beat for this long shows "Lost contact with the worker"."""
    lease_s: float = 105.0
    """A running task without a beat for this long is lost."""
    quiet_s: float = 60.0
    """A running task with beats but without progress for this long shows "Still working"."""
    publish_every_s: float = 0.1
    """How often the reporter samples its trackers while something changes."""
    save_every_s: float = 2.0
    """How often a task whose progress changes is saved."""
    end_retry_s: float = 30.0
    """How long a worker retries saving a task's end while the database is unavailable, before the runner goes on."""

    spool: str | None = None
    """A directory for ends of tasks that a process could not save before it exited; None: a directory of the worker's
    user in the system's directory for temporary files."""

    queue_status_every_s: float | None = 5.0
    """How often a runner is asked about a waiting task that a page shows; None: never."""
    keep_ended_s: float = 30 * 86_400.0
    """How long ended tasks and shown notices are kept."""
    keep_unseen_s: float = 90 * 86_400.0
    """How long a notice that was not shown is kept, together with its task."""
    unseen: str | None = None
    """Dotted path of `(user, notices) -> bool | None`, which `manage.py telltale unseen` calls with what no page has
    shown to a user, such as "telltale.unseen.mail"; False: they wait on."""
    unseen_after_s: float = 3_600.0
    """How long a notice waits for a page before it is handed over to `unseen`."""
    unseen_url: str | None = None
    """The site's address, for the links in mails, such as "https://example.com"."""
    push: Mapping[str, Any] | None = None
    """Web push, if set: "VAPID_PRIVATE_KEY" and "VAPID_SUBJECT", maybe "AFTER_S" and "SERVICES"; see docs/push.md."""
    unstarted_s: float | None = 1_800.0
    """A waiting task that no worker starts for this long, although nothing prevents it, ends as failed: its runner
    has probably lost it. None: only `keep_queued_s` counts."""
    keep_queued_s: float = 7 * 86_400.0
    """A task that no worker starts within this time, counted from when it was due, ends as failed."""
    prune_every_s: float | None = 3_600.0
    """How often a worker process deletes what is no longer kept; None: only `manage.py telltale prune` does."""

    ticket_s: float = 300.0
    """How long a ticket is valid; pages renew it automatically."""
    can_follow: str | None = None
    """Dotted path of `(request, topic) -> bool`: may the visitor follow a topic that is not their own?"""
    can_act: str | None = None
    """Dotted path of `(request, topic, action) -> bool`: may the visitor cancel ("cancel") or run again ("retry") a
    task that they may follow, but that is not their own? `topic` is the task's, such as "task:<id>"."""
    shown_arguments: str | None = None
    """Dotted path of `(task, arguments) -> arguments`: what the admin shows of a task's arguments, {"args": […],
    "kwargs": {…}}; nothing if it returns None. Without it, values are starred out whose names look secret."""
    authentication: tuple[str, ...] = ()
    """Dotted paths of classes or functions that find a request's user, besides the session, such as
    "rest_framework.authentication.TokenAuthentication"; see docs/api-clients.md."""
    allowed_origins: tuple[str, ...] = ()
    """Other origins whose pages may use Telltale: "https://app.example.com", "https://*.example.com" or "*"."""
    long_poll_s: float = 25.0
    """How long a poll may stay open under ASGI."""
    share_streams: bool = True
    """Whether a person's tabs share one event stream or long poll: over HTTP/1.1, browsers allow a site six requests at
    a time. WebSockets are not shared."""
    poll_s: float = 2.0
    """How often clients poll where a poll can't stay open."""
    recheck_s: float | None = None
    """How often followed tasks are read again; None: 2 s, or 15 s if the broker reaches the whole site."""
    connections: int = 20_000
    """Live connections that one web process accepts: as many as can all reconnect within half a minute."""
    connections_per_address: int = 10_000
    """Live connections from one network address to one web process. Behind a proxy, all may have its address."""
    connections_per_user: int = 20
    """Live connections of one user or session to one web process."""
    connections_without_person: int = 200
    """Live connections by tickets that name neither user nor session, from one public network address to one web
    process. Many visitors may share an address. Private addresses, such as a proxy's, are not counted."""
    show_ended_s: float = 86_400.0
    """How long an ended task stays in its owner's tray."""
    favicon: bool = True
    """Whether the icon of a hidden page shows the progress of its first task; its title does in any case."""

    pusher_events_per_s: float = 1.0
    """How many events of progress a process sends to a Pusher service in a second, on average. Ends, notices and a
    site's own events are not delayed, but they count. The default suits the hosted service's free plan: its 200,000
    messages a day are two a second, and an event that one page receives is two messages."""
    pusher_channels: Mapping[str, str] = field(default_factory=dict)
    """The types of the channels of a site's own topics, by kind, such as {"news": "public", "room": "presence"}.
    Channels of other kinds are private."""
    pusher_master_key: str | None = None
    """The secret of encrypted channels: 32 random bytes in base64."""
    pusher_user_info: str | None = None
    """Dotted path of `(request) -> dict`: what other members of a presence channel learn about a signed-in user; None:
    the user as text, as "name"."""
    pusher_watchlist: str | None = None
    """Dotted path of `(request) -> iterable`: the ids of up to 100 users whose presence a signed-in user learns."""

    pusher_js: str | None = None
    """The address of pusher-js, which pages import to listen to the service: a URL, or a static file's path such as
    "vendor/pusher.min.js"; None: a page listens if it has loaded pusher-js by itself, as the global `Pusher`."""
    pusher_js_options: Mapping[str, Any] = field(default_factory=dict)
    """Options of pusher-js that replace those which the broker's URL gives, such as {"wsHost": "push.example.org"}
    where browsers reach the service by another name than servers do."""

    pusher_apps: tuple[Mapping[str, Any], ...] | str | None = None
    """The apps of the Pusher stand-in: a list of dicts with "ID", "KEY", "SECRET" and more, or the dotted path of a
    function that returns them, such as "telltale.pusher.models.apps"; None: no stand-in."""
    pusher_path: str = ""
    """The path before the stand-in's `/app/KEY` and `/apps/ID`, such as "/pusher"."""

    @property
    def limits(self) -> Limits:
        """The thresholds of health, for `core.health` and for clients."""
        return Limits(quiet_s=self.quiet_s, stalled_s=self.stalled_s, lease_s=self.lease_s)


FIELD_BY_KEY = {field.name.upper(): field.name for field in fields(Settings)}


@cache
def settings() -> Settings:
    """Return the current settings. Unknown keys are ignored here; the system check reports them."""
    given: dict[str, Any] = getattr(django_settings, "TELLTALE", {})
    return Settings(**{FIELD_BY_KEY[key]: value for key, value in given.items() if key in FIELD_BY_KEY})


def _clear_cache(*, setting: str, **_: object) -> None:
    if setting == "TELLTALE":
        settings.cache_clear()


setting_changed.connect(_clear_cache, dispatch_uid="telltale.conf")
