"""How long the stages of a task's last attempt have taken, as a table with bars that share one scale."""

from typing import Final

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from telltale.core.stage_times import StageTime, read_stage_times
from telltale.models import TaskState
from telltale.pages.catalogue import number
from telltale.pages.durations import duration

WIDTH: Final = 1_000
"""The width of the longest bar, in units of its SVG. The style sheet gives the bars their colour."""


def stage_times(task: TaskState) -> SafeString | str:
    """Return the outermost stages by name, in the order in which they first began; empty without stages."""
    stages = read_stage_times(task.stage_times)
    longest_s = max((stage.took_s for stage in stages), default=0.0) or 1.0
    rows = format_html_join(
        "",
        '<tr><th scope=row>{}</th><td><svg viewBox="0 0 {} 10" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="telltale-running" width="{}" height="10"/></svg>{}</td></tr>',
        (
            (each.name or _("Other stages"), WIDTH, round(each.took_s / longest_s * WIDTH), _took(each))
            for each in stages
        ),
    )
    return format_html('<table class="telltale-story telltale-stages">{}</table>', rows) if stages else ""


def _took(stage: StageTime) -> str:
    took = duration(stage.took_s)
    if stage.times == 1:
        return took
    # Outside of the f-string, in which xgettext finds no text.
    times = ngettext("%(n)s time", "%(n)s times", stage.times) % {"n": number(stage.times)}
    return f"{took} · {times}"
