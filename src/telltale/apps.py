"""Telltale's Django app: when all apps are ready, it installs the runners, registers the system checks, listens for
sign-ins and for ends of rights, has reads show what is heard of tasks that can't be saved, and says what the live
server serves beside the live address."""

from django.apps import AppConfig
from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_in, user_logged_out
from django.db.models.signals import post_delete, post_save
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
        from telltale.live import heard
        from telltale.messages import on_notice
        from telltale.pages.sign_in import on_sign_in
        from telltale.pages.sign_out import on_sign_in_over_another, on_sign_out, on_user_deleted, on_user_saved
        from telltale.push.prompt import prompt
        from telltale.pusher.server import mounting

        registry.install()
        user_logged_in.connect(on_sign_in, dispatch_uid="telltale.sign_in")
        user_logged_in.connect(on_sign_in_over_another, dispatch_uid="telltale.sign_in_over_another")
        user_logged_out.connect(on_sign_out, dispatch_uid="telltale.sign_out")
        post_save.connect(on_user_saved, sender=get_user_model(), dispatch_uid="telltale.user_saved")
        post_delete.connect(on_user_deleted, sender=get_user_model(), dispatch_uid="telltale.user_deleted")
        heard.install()
        on_notice(prompt.schedule)
        mounting.add_to_live_server()
