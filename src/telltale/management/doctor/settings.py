"""What `check` knows already: Telltale's own system checks, those of `check --deploy` included."""

from collections.abc import Iterator

from django.core import checks

from telltale.management.doctor.finding import Finding


def examine_settings() -> Iterator[Finding]:
    """Run Telltale's system checks. Reminders (`I`) and silenced messages are no findings."""
    for message in checks.run_checks(tags=["telltale"], include_deployment_checks=True):
        if message.level >= checks.WARNING and not message.is_silenced():
            yield Finding(
                id=message.id or "check",
                found=str(message.msg),
                why=f"`manage.py check --deploy` reports it, as {message.id}.",
                setting=str(message.hint or "See the message."),
            )
