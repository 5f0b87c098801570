"""System checks of the runners: whether they can be loaded, and what they need in the site's settings."""

from typing import Any, Final

from django.apps import apps
from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Warning, register

from telltale import conf
from telltale.checks.settings import given_settings, wrong_values
from telltale.dispatch import registry
from telltale.dispatch.runner import Ability, abilities

DRAMATIQ_MIDDLEWARE: Final = "telltale.runners.dramatiq.TelltaleMiddleware"


@register("telltale")
def check_runners(**_: Any) -> list[CheckMessage]:
    """Check that the runners can be loaded, and that one of them follows tasks by their names if `FOLLOW` has any."""
    if list(wrong_values(given_settings())):
        return []
    problem = registry.why_no_runners()
    if problem is not None:
        return [Error(problem, hint="Until then, no task is shown and none can be enqueued.", id="telltale.E015")]
    runners = registry.all_runners()
    if not conf.settings().follow or any(Ability.FOLLOWS in abilities(runner) for runner in runners):
        return []
    names = ", ".join(runner.name for runner in runners)
    return [
        Warning(
            f"TELLTALE['FOLLOW'] has no effect: of the runners that are available here ({names}), none follows tasks "
            "by their names.",
            hint="Install the library that runs these tasks, and keep its runner in TELLTALE['RUNNERS'] if it is set. "
            "Other tasks are shown by a tracked function around them: docs/other-tasks.md.",
            id="telltale.W009",
        )
    ]


@register("telltale")
def check_dramatiq(**_: Any) -> list[CheckMessage]:
    """Check that Telltale's middleware for Dramatiq comes first, if django-dramatiq is installed."""
    if not apps.is_installed("django_dramatiq"):
        return []
    present = list(getattr(django_settings, "DRAMATIQ_BROKER", {}).get("MIDDLEWARE", []))
    if present[:1] == [DRAMATIQ_MIDDLEWARE]:
        return []
    if DRAMATIQ_MIDDLEWARE in present:
        message = "Telltale's middleware for Dramatiq is not the first one: tasks of pipelines will have no owner."
    else:
        message = "Telltale's middleware for Dramatiq is missing: actors' tasks will not be shown."
    hint = f"Put {DRAMATIQ_MIDDLEWARE!r} first in DRAMATIQ_BROKER['MIDDLEWARE']."
    return [Warning(message, hint=hint, id="telltale.W006")]
