"""Telltale's Django app: installs the runners and registers the system checks when all apps are ready."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class TelltaleConfig(AppConfig):
    """The app for `"telltale"` in INSTALLED_APPS."""

    name = "telltale"
    verbose_name = _("Telltale")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks by importing them, and connect each runner to its signals."""
        from telltale import checks  # noqa: F401
        from telltale.dispatch import registry

        registry.install()
