"""Telltale as a Django app: connects the runners and registers the checks when all apps are ready."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class TelltaleConfig(AppConfig):
    """`"telltale"` in INSTALLED_APPS."""

    name = "telltale"
    verbose_name = _("Telltale")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Importing `checks` registers them; `install` connects each runner to its signals."""
        from telltale import checks  # noqa: F401
        from telltale.dispatch import registry

        registry.install()
