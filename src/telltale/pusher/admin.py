"""The stand-in's apps in the admin. Secrets are shown to people who may change them, on the app's own page alone."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from telltale.pusher.models import App


@admin.register(App)
class AppAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Apps, with new ids, keys and secrets by default."""

    list_display = ("name", "app_id", "key", "is_enabled")
    list_filter = ("is_enabled",)
    search_fields = ("name", "=app_id", "=key")
    fieldsets = (
        (None, {"fields": ("name", "is_enabled", "app_id", "key", "secret")}),
        (
            _("Features"),
            {"fields": ("is_tls_only", "has_client_events", "has_subscription_counts", "has_watchlists")},
        ),
        (_("Webhooks"), {"fields": ("webhooks", "webhook_settle_s")}),
        (_("Limits"), {"fields": ("activity_timeout_s", "cache_s", "limits")}),
    )

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the fields, without those that hold secrets for people who may only look."""
        fieldsets = super().get_fieldsets(request, obj)
        if self.has_change_permission(request, obj) or (obj is None and self.has_add_permission(request)):
            return fieldsets
        return [
            (title, {**options, "fields": [name for name in options["fields"] if name not in {"secret", "webhooks"}]})
            for title, options in fieldsets
        ]
