"""System checks of the site around Telltale: its URLs, middleware, static files and user model."""

from math import inf
from typing import Any, Final
from urllib.parse import urlsplit

from django.apps import apps
from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.core.checks import CheckMessage, Error, Info, Warning, register
from django.db import models
from django.urls import NoReverseMatch, reverse

from telltale.core.topics import MAX_LENGTH, user_topic

MIDDLEWARE: Final = "telltale.owners.OwnerMiddleware"
SESSIONS: Final = "django.contrib.sessions.middleware.SessionMiddleware"
AUTHENTICATION: Final = "django.contrib.auth.middleware.AuthenticationMiddleware"


@register("telltale")
def check_urls(**_: Any) -> list[CheckMessage]:
    """Check that the site's URLs include Telltale's."""
    if not getattr(django_settings, "ROOT_URLCONF", None):
        return []
    try:
        reverse("telltale:live")
    except NoReverseMatch:
        hint = 'Add path("telltale/", include("telltale.urls")) to the urlpatterns of ROOT_URLCONF.'
        return [Error("The site's URLs do not include Telltale's.", hint=hint, id="telltale.E006")]
    return []


@register("telltale")
def check_middleware(**_: Any) -> list[CheckMessage]:
    """Check that the visitor owns the tasks that a view starts."""
    present = list(django_settings.MIDDLEWARE)
    if MIDDLEWARE not in present:
        hint = f"Add {MIDDLEWARE!r} to MIDDLEWARE, after the session and authentication middleware."
        message = "OwnerMiddleware is missing: a task that a view starts by .delay() or .enqueue() will have no owner."
        return [Warning(message, hint=hint, id="telltale.W001")]
    later = [name for name in (SESSIONS, AUTHENTICATION) if name in present[present.index(MIDDLEWARE) :]]
    if later:
        hint = f"Move {MIDDLEWARE!r} below {later[-1]!r} in MIDDLEWARE."
        message = f"{MIDDLEWARE} comes before {later[-1]}, but depends on it."
        return [Warning(message, hint=hint, id="telltale.W002")]
    return []


@register("telltale", deploy=True)
def check_static_url(**_: Any) -> list[CheckMessage]:
    """Remind of the header without which no module of another origin runs; the header itself can't be read here."""
    url = urlsplit(django_settings.STATIC_URL or "")
    if not url.netloc or not apps.is_installed("django.contrib.staticfiles"):
        return []
    origin = f"{url.scheme or 'https'}://{url.netloc}"
    return [
        Info(
            f"STATIC_URL names the origin {origin}. If pages have another, browsers run the modules only if its server "
            "sends the header Access-Control-Allow-Origin.",
            hint='Have it send "Access-Control-Allow-Origin: *" (docs/static-files.md). If it does, add '
            "'telltale.I001' to SILENCED_SYSTEM_CHECKS.",
            id="telltale.I001",
        )
    ]


@register("telltale")
def check_user_key(**_: Any) -> list[CheckMessage]:
    """Check that a user's topic can carry the longest primary key that the user model allows."""
    key = get_user_model()._meta.pk
    longest = MAX_LENGTH - len(user_topic("x")) + 1
    if not isinstance(key, models.CharField | models.TextField) or (key.max_length or inf) <= longest:
        return []
    return [
        Warning(
            f"The primary key of {get_user_model()._meta.label} may have more than {longest} characters: then the "
            "tasks of its user can't be followed.",
            hint=f"Limit it: max_length={longest}. Letters outside of ASCII count 6 to 12 times.",
            id="telltale.W007",
        )
    ]
