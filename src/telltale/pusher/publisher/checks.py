"""System checks of a site that uses a Pusher service. `telltale.checks` runs them; wrong URLs are found there.

They read settings only. No text shows the master key.
"""

from collections.abc import Iterator

from django.core.checks import CheckMessage, Error, Warning
from django.core.exceptions import ImproperlyConfigured
from django.urls import NoReverseMatch, reverse
from django.utils.module_loading import import_string

from telltale.conf import Settings
from telltale.core.topics import is_topic
from telltale.pusher.publisher.channels import PREFIXES, TELLTALES_KINDS
from telltale.pusher.publisher.master_key import HINT, read_master_key


def check_publisher(settings: Settings) -> Iterator[CheckMessage]:
    """Check the settings `PUSHER_…` of publishing, and that the site signs for its pages."""
    yield from _channels(settings)
    yield from _master_key(settings)
    yield from _hook("PUSHER_USER_INFO", settings.pusher_user_info, "(request) -> dict")
    yield from _hook("PUSHER_WATCHLIST", settings.pusher_watchlist, "(request) -> iterable of users or ids")
    yield from _urls(settings)


def _channels(settings: Settings) -> Iterator[CheckMessage]:
    for kind, type_ in settings.pusher_channels.items():
        place = f"TELLTALE['PUSHER_CHANNELS'][{kind!r}]"
        if not is_topic(f"{kind}:x") or kind == "telltale":
            hint = "The keys are kinds of your topics: 'news' for the topic 'news:today'."
            yield Error(f"{place}: no topic is of this kind.", hint=hint, id="telltale.E010")
        elif kind in TELLTALES_KINDS:
            hint = "Remove this key."
            yield Error(f"{place}: these topics are Telltale's and always private.", hint=hint, id="telltale.E010")
        if type_ not in PREFIXES:
            hint = f"Use one of {', '.join(PREFIXES)}."
            yield Error(f"{place} is {type_!r}, which is no type of channels.", hint=hint, id="telltale.E010")


def _master_key(settings: Settings) -> Iterator[CheckMessage]:
    encrypted = sorted(kind for kind, type_ in settings.pusher_channels.items() if "encrypted" in str(type_))
    if settings.pusher_master_key is not None:
        try:
            read_master_key(settings.pusher_master_key)
        except ImproperlyConfigured as error:
            yield Error(str(error), hint=HINT, id="telltale.E011")
    elif encrypted:
        message = f"TELLTALE['PUSHER_MASTER_KEY'] is missing, but the channels of {encrypted[0]!r} are encrypted."
        yield Error(message, hint=HINT, id="telltale.E011")


def _hook(key: str, path: str | None, form: str) -> Iterator[CheckMessage]:
    if path is None:
        return
    try:
        reason = None if callable(import_string(path)) else "It is not callable."
    except ImportError as error:
        reason = str(error)
    if reason is not None:
        hint = f"{reason} Use the dotted path of a function {form}."
        yield Error(f"TELLTALE[{key!r}] is {path!r}, which can't be called.", hint=hint, id="telltale.E012")


def _urls(settings: Settings) -> Iterator[CheckMessage]:
    if not settings.broker.startswith("pusher://"):
        return
    try:
        reverse("telltale_pusher:auth")
    except NoReverseMatch:
        message = "TELLTALE['BROKER'] is pusher://…, but no page can subscribe to private channels: no view signs."
        hint = 'Add path("pusher/", include("telltale.pusher.urls")) to the urlpatterns of ROOT_URLCONF.'
        yield Warning(message, hint=hint, id="telltale.W008")
