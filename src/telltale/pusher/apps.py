"""The optional Django app for `"telltale.pusher"` in INSTALLED_APPS: it keeps the stand-in's apps in a table."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class PusherConfig(AppConfig):
    """The app; its label is `telltale_pusher`."""

    name = "telltale.pusher"
    label = "telltale_pusher"
    verbose_name = _("Telltale: Pusher stand-in")
    default_auto_field = "django.db.models.BigAutoField"
