"""A plot of durations over time, as SVG without text, script or style attributes: the style sheet gives the colours.

The labels of the axes are HTML, so that they keep their size on a phone. The page has a table of the same values.
"""

from collections.abc import Sequence
from typing import Final

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from telltale.admin.durations import Step, round_up
from telltale.pages.durations import duration
from telltale.pages.timeline import instant_text

WIDTH: Final = 1_000
HEIGHT: Final = 300
"""In units of the SVG, which is as wide as there is room."""

Points = Sequence[tuple[float, float]]


def plot(steps: Sequence[Step], *, title: str) -> SafeString:
    """Return the median and the 95th percentile of each step, on axes that begin at 0 s; empty without steps."""
    if not steps:
        return SafeString()
    top_s, begin, end = round_up(max(step.p95_s for step in steps)), steps[0].from_at, steps[-1].until_at
    span = end - begin or 1.0

    def points(values: Sequence[float]) -> Points:
        middles = [(step.from_at + step.until_at) / 2 for step in steps]
        places = [(middle - begin) / span * WIDTH if end > begin else WIDTH / 2 for middle in middles]
        return [(x, HEIGHT - value / top_s * HEIGHT) for x, value in zip(places, values, strict=True)]

    medians, highs = points([step.median_s for step in steps]), points([step.p95_s for step in steps])
    drawn = format_html_join(
        "",
        '<path class="telltale-{}" d="{}"/>',
        [
            ("grid", "".join(f"M0 {HEIGHT * part:g}h{WIDTH}" for part in (0, 0.5, 1))),
            ("band", f"{_line(medians)}L{_line([*reversed(highs)])[1:]}Z"),
            ("high", _line(highs)),
            ("high-dots", _dots(highs)),
            ("median", _line(medians)),
            ("median-dots", _dots(medians)),
        ],
    )
    return format_html(
        '<div class="telltale-plot"><div class="telltale-y"><span>{}</span><span>{}</span><span>0</span></div>'
        '<svg viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>'
        '<div class="telltale-x"><span>{}</span><span>{}</span></div></div>',
        *(duration(top_s), duration(top_s / 2)),
        *(WIDTH, HEIGHT, title, drawn),
        *(instant_text(begin), instant_text(end)),
    )


def spark(steps: Sequence[Step]) -> SafeString:
    """Return the medians as a small line; empty with less than two steps."""
    if len(steps) < 2:
        return SafeString()
    top_s, begin, span = (
        max(step.median_s for step in steps) or 1.0,
        steps[0].from_at,
        steps[-1].until_at - steps[0].from_at,
    )
    points = [((step.from_at - begin) / span * 100, 20 - step.median_s / top_s * 18) for step in steps]
    path = format_html('<path class="telltale-median" d="{}"/>', _line(points))
    return format_html(
        '<svg class="telltale-spark" viewBox="0 0 100 22" preserveAspectRatio="none" aria-hidden="true">{}</svg>', path
    )


def _line(points: Points) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def _dots(points: Points) -> str:
    """Lines without length: the style sheet gives them round ends."""
    return "".join(f"M{x:.1f} {y:.1f}h0" for x, y in points)
