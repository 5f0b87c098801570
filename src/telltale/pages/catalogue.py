"""The catalogue: every text that pages share with their scripts, and numbers as the active language writes them.

Python takes a text by `message` or `plural`; the browser gets them all by `catalogue`. `locale/` has the translations.
"""

import math
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

from django.utils.formats import get_format
from django.utils.translation import get_language, gettext, gettext_noop, ngettext

from telltale.pages.percent_forms import percent_form

MESSAGES: Final = {
    "task": gettext_noop("Task"),
    # Status lines. One sentence has no full stop; two or more have.
    "waiting": gettext_noop("Waiting to start"),
    "still_waiting": gettext_noop("Still waiting to start"),
    "scheduled_in": gettext_noop("Starts in {time}"),
    "no_worker": gettext_noop("Waiting for a worker"),
    "may_be_lost": gettext_noop("No worker has started it. It may have been lost."),
    "working": gettext_noop("Working"),
    "step": gettext_noop("Step {step}: {activity}"),
    "step_of": gettext_noop("Step {step} of {steps}: {activity}"),
    "quiet": gettext_noop("Still working"),
    "slow": gettext_noop("Taking longer than usual, still working"),
    "stalled": gettext_noop("Lost contact with the worker. It may recover."),
    "retrying": gettext_noop("Something went wrong. Trying again soon."),
    "retrying_in": gettext_noop("Something went wrong. Trying again in {time}."),
    "cancelling": gettext_noop("Stopping…"),
    "succeeded": gettext_noop("Done"),
    "ran_on": gettext_noop("Done. It was asked to stop, but ran on."),
    "failed": gettext_noop("Failed"),
    "cancelled": gettext_noop("Stopped"),
    "lost": gettext_noop("Interrupted before it finished"),
    # Parts of the detail line. The style sheet capitalizes the first letter of the line.
    "next": gettext_noop("next in line"),
    "asked_ago": gettext_noop("asked for {time} ago"),
    "due_ago": gettext_noop("due {time} ago"),
    "count_of_total": gettext_noop("{current} of {total}"),
    "count_so_far": gettext_noop("{count} so far"),
    "with_unit": gettext_noop("{count} {unit}"),
    "time_left": gettext_noop("{time} left"),
    "usually_takes": gettext_noop("usually takes {time}"),
    "usually_now": gettext_noop("usually {usual}; {now} so far"),
    "no_progress_for": gettext_noop("no progress reported for {time}"),
    "last_contact": gettext_noop("last contact {time} ago"),
    "safe_point": gettext_noop("the task stops at its next safe point"),
    "asked_to_stop": gettext_noop("it was asked to stop"),
    "no_cancel": gettext_noop("can't be stopped now: {reason}"),
    "took": gettext_noop("took {time}"),
    "count_in_time": gettext_noop("{count} in {time}"),
    "stopped_after": gettext_noop("stopped after {count}"),
    "stopped_in": gettext_noop("stopped in {step}"),
    "in_step": gettext_noop("in {step}"),
    "step_number": gettext_noop("step {step}"),
    "step_number_of": gettext_noop("step {step} of {steps}"),
    "step_named": gettext_noop("{step}: {stage}"),
    "after_count": gettext_noop("after {count}"),
    "reference": gettext_noop("if you report this, quote reference {code}"),
    # Durations
    "moment": gettext_noop("less than a second"),
    "few_seconds": gettext_noop("a few seconds"),
    "about_minute": gettext_noop("about a minute"),
    "under_minute": gettext_noop("less than a minute"),
    "about_hour": gettext_noop("about an hour"),
    "about_hour_and_half": gettext_noop("about an hour and a half"),
    # Actions
    "cancel": gettext_noop("Stop"),
    "try_again": gettext_noop("Try again"),
    "start_again": gettext_noop("Start again"),
    "open_result": gettext_noop("Open result"),
    "unreachable": gettext_noop("Couldn't reach the server. Try again."),
    "tell_me": gettext_noop("Tell me when it's done"),
    "notifications_on": gettext_noop("This browser will notify you."),
    "notifications_off": gettext_noop("This browser won't notify you."),
    "notifications_blocked": gettext_noop(
        "This browser blocks notifications from this site. Allow them in its settings."
    ),
    "notifications_failed": gettext_noop("Notifications couldn't be turned on. Try again."),
    # The page's connection to the server
    "connection_reconnecting": gettext_noop("Reconnecting…"),
    "connection_polling": gettext_noop("Updates every few seconds"),
    "connection_offline": gettext_noop("Offline. Showing the last known state."),
    "connection_ended": gettext_noop("Live updates stopped. Reload the page."),
    "not_followed": gettext_noop("No live updates for this task. Reload the page."),
    # Tray and toasts
    "tray": gettext_noop("Your tasks"),
    "tray_empty": gettext_noop("Nothing here yet. What you start appears here; how it ended stays until you clear it."),
    "all_tasks": gettext_noop("All tasks"),
    "clear": gettext_noop("Clear finished"),
    "close": gettext_noop("Close"),
    "toasts": gettext_noop("Notifications"),
    "dismiss": gettext_noop("Dismiss"),
    "open": gettext_noop("Open"),
    # The list of messages
    "new_message": gettext_noop("New"),
}

PLURALS: Final[dict[str, Callable[[int], str]]] = {
    "seconds": lambda n: ngettext("{n} second", "{n} seconds", n),
    "minutes": lambda n: ngettext("{n} minute", "{n} minutes", n),
    "hours": lambda n: ngettext("{n} hour", "{n} hours", n),
    "days": lambda n: ngettext("{n} day", "{n} days", n),
    "about_seconds": lambda n: ngettext("about {n} second", "about {n} seconds", n),
    "about_minutes": lambda n: ngettext("about {n} minute", "about {n} minutes", n),
    "about_hours": lambda n: ngettext("about {n} hour", "about {n} hours", n),
    "about_days": lambda n: ngettext("about {n} day", "about {n} days", n),
    "up_to_minutes": lambda n: ngettext("up to {n} minute", "up to {n} minutes", n),
    "up_to_hours": lambda n: ngettext("up to {n} hour", "up to {n} hours", n),
    "range_minutes": lambda n: ngettext("{low} to {n} minute", "{low} to {n} minutes", n),
    "range_hours": lambda n: ngettext("{low} to {n} hour", "{low} to {n} hours", n),
    "ahead": lambda n: ngettext("{n} task ahead", "{n} tasks ahead", n),
    "open_tasks": lambda n: ngettext("{n} not finished", "{n} not finished", n),
    "more": lambda n: ngettext("and {n} more", "and {n} more", n),
}


def rounded(value: float) -> int:
    """Round halves up, as the browser does; Python's `round` rounds them to even."""
    return math.floor(value + 0.5)


def number(value: float) -> str:
    """Return the number with digits in groups of three, and one decimal below 100 if it is not whole."""
    tenths = rounded(value * 10) if abs(value) < 100 else rounded(value) * 10
    sign, (whole, tenth) = "-" if tenths < 0 else "", divmod(abs(tenths), 10)
    text = f"{whole:,}".replace(",", str(get_format("THOUSAND_SEPARATOR")))
    return sign + (f"{text}{get_format('DECIMAL_SEPARATOR')}{tenth}" if tenth else text)


def percentage(share: float) -> str:
    """Return the share as whole per cent, rounded down, as the active language writes it: "44%" or "44 %"."""
    return _fill(percent_form(get_language() or ""), {"n": number(math.floor(share * 100))})


def message(key: str, **values: str) -> str:
    """Return the message in the active language."""
    return _fill(gettext(MESSAGES[key]), values)


def plural(key: str, n: int, **values: str) -> str:
    """Return the message for `n` in the active language."""
    return _fill(PLURALS[key](n), {"n": number(n), **values})


def _fill(template: str, values: dict[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda match: values.get(match[1], match[0]), template)


def catalogue() -> dict[str, Any]:
    """Return all messages in the active language, for the browser.

    A plural message is a list: the index of its rule in `rules`, then its forms. A rule is a string of 200 digits: the
    index of the form for each number from 0 to 199. For larger numbers the last two digits decide, as in every
    language that gettext supports.
    """
    return _catalogue(get_language() or "")


@lru_cache(maxsize=64)
def _catalogue(_language: str) -> dict[str, Any]:
    rules: list[str] = []
    plurals: dict[str, list[Any]] = {}
    for key, form_of in PLURALS.items():
        forms = list(dict.fromkeys(form_of(n) for n in range(200)))
        rule = "".join(str(forms.index(form_of(n))) for n in range(200))
        if rule not in rules:
            rules.append(rule)
        plurals[key] = [rules.index(rule), *forms]
    return {
        "messages": {key: gettext(text) for key, text in MESSAGES.items()},
        "plurals": plurals,
        "rules": rules,
        "percent": percent_form(get_language() or ""),
        "group": str(get_format("THOUSAND_SEPARATOR")),
        "decimal": str(get_format("DECIMAL_SEPARATOR")),
    }
