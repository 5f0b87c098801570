"""The app's configuration: messages of the version by hand also reach Telltale's pages."""

from django.apps import AppConfig


class WithTelltaleConfig(AppConfig):
    """Relays what the version by hand sends to a user's group."""

    name = "with_telltale"

    def ready(self) -> None:
        """Called once in each process."""
        # Imported here, because it needs Django's models.
        from telltale.channels import relay

        relay("by-hand.user.{}", topic="user:{}")
