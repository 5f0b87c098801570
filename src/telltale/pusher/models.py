"""The table of the stand-in's apps, for sites that change them without a deployment.

    INSTALLED_APPS = [..., "telltale", "telltale.pusher"]
    TELLTALE = {"PUSHER_APPS": "telltale.pusher.models.apps"}

A row changes the server within seconds (`app_registry.REFRESH_S`). Secrets are stored as they are, because the
server signs with them: protect the database and its backups accordingly.
"""

import secrets
from typing import Any, Final

from django.apps import apps as django_apps
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db import models
from django.utils.translation import gettext_lazy as _

from telltale.pusher.app_settings import read_app

SETTINGS: Final = {
    "ID": "app_id",
    "KEY": "key",
    "SECRET": "secret",
    "IS_ENABLED": "is_enabled",
    "TLS_ONLY": "is_tls_only",
    "CLIENT_EVENTS": "has_client_events",
    "SUBSCRIPTION_COUNTS": "has_subscription_counts",
    "WATCHLISTS": "has_watchlists",
    "ACTIVITY_TIMEOUT_S": "activity_timeout_s",
    "CACHE_S": "cache_s",
    "WEBHOOK_SETTLE_S": "webhook_settle_s",
    "LIMITS": "limits",
    "WEBHOOKS": "webhooks",
}
"""The column of each key of an app's settings."""


def new_app_id() -> str:
    """Return a new app's id: seven digits."""
    return str(1_000_000 + secrets.randbelow(9_000_000))


def new_key() -> str:
    """Return a new key: 20 hexadecimal digits, as the hosted service has them."""
    return secrets.token_hex(10)


def new_secret() -> str:
    """Return a new secret: 256 bits in hexadecimal."""
    return secrets.token_hex(32)


class App(models.Model):
    """One app of the stand-in; `PusherApp` is its value."""

    name = models.CharField(_("name"), max_length=255, help_text=_("Shown in the admin only."))
    app_id = models.CharField(_("app id"), max_length=32, unique=True, default=new_app_id)
    key = models.CharField(
        _("key"), max_length=255, unique=True, default=new_key, help_text=_("Public: clients connect with it.")
    )
    secret = models.CharField(
        _("secret"), max_length=255, default=new_secret, help_text=_("Private: servers sign with it.")
    )
    is_enabled = models.BooleanField(_("enabled"), default=True)
    is_tls_only = models.BooleanField(_("TLS only"), default=False)
    has_client_events = models.BooleanField(_("client events"), default=True)
    has_subscription_counts = models.BooleanField(_("subscription counts"), default=False)
    has_watchlists = models.BooleanField(_("watchlists"), default=True)
    activity_timeout_s = models.PositiveIntegerField(_("activity timeout (s)"), default=120)
    cache_s = models.FloatField(_("event kept by cache channels (s)"), default=1_800.0)
    webhook_settle_s = models.FloatField(_("delay of webhooks of leaving clients (s)"), default=3.0)
    limits = models.JSONField(
        _("limits"),
        default=dict,
        blank=True,
        help_text=_('Limits that differ from the defaults, for example {"EVENT_BYTES": 20000}.'),
    )
    webhooks = models.JSONField(
        _("webhooks"),
        default=list,
        blank=True,
        help_text=_('A list of addresses, for example ["https://example.com/pusher/webhook/"].'),
    )

    class Meta:
        # Named here, or the table would be the app "telltale"'s where this app is not installed.
        app_label = "telltale_pusher"
        verbose_name = _("app")
        verbose_name_plural = _("apps")
        ordering = ["name", "app_id"]

    def __str__(self) -> str:
        return f"{self.name} ({self.app_id})"

    @property
    def settings(self) -> dict[str, Any]:
        """The app as settings have it."""
        return {key: getattr(self, column) for key, column in SETTINGS.items()}

    def clean(self) -> None:
        """Raise `ValidationError` for each value that the server would refuse."""
        errors: dict[str, list[str]] = {}
        for key, value in self.settings.items():
            _, problems = read_app({"ID": "1", "KEY": "key", "SECRET": "secret", key: value}, "")
            for problem in problems:
                errors.setdefault(SETTINGS[key], []).append(problem.text.replace(f"[{key!r}]", "This", 1))
        if errors:
            raise ValidationError(errors)


def apps() -> list[dict[str, Any]]:
    """Return the apps of the table, for `TELLTALE["PUSHER_APPS"]`; raises what the database raises."""
    if not django_apps.is_installed("telltale.pusher"):
        raise ImproperlyConfigured("The apps' table is missing: add 'telltale.pusher' to INSTALLED_APPS and migrate.")
    return [app.settings for app in App.objects.order_by("pk")]
