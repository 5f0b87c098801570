"""The attempts of a task as a picture: a lane for each, with bars for waiting and running along one line of time.

It has only rectangles in SVG, without script or style attributes. The style sheet gives them their colours: light, dark
and forced. The table below it says the same in words, so screen readers skip the picture.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from telltale.core.states import State
from telltale.pages.timeline import ShownAttempt, instant_text

WIDTH: Final = 1_000
"""The width of a lane, in units of its SVG."""

THINNEST: Final = 4
"""The width of the shortest bar, in the same units."""

KINDS: Final[Mapping[State, str]] = {
    State.SUCCEEDED: "ok",
    State.FAILED: "bad",
    State.LOST: "bad",
    State.RETRYING: "bad",
    State.CANCELLED: "cancelled",
    State.RUNNING: "running",
}
"""The kind of an attempt's bar, which is the end of its CSS class."""


def picture(attempts: Sequence[ShownAttempt], *, now: float) -> SafeString:
    """Return the picture, until `now` if the task has not ended; empty if too few instants are known."""
    instants = [at for each in attempts for at in (each.queued_at, each.started_at, each.ended_at) if at is not None]
    is_open = attempts[-1].ended_at is None
    if len(instants) < 2 and not is_open:
        return SafeString()
    begin, end = min(instants), max([*instants, now] if is_open else instants)
    span = max(end - begin, 0.001)
    lanes = format_html_join(
        "",
        '<div class="telltale-lane"><span>{}</span><svg viewBox="0 0 {} 10" preserveAspectRatio="none">{}</svg></div>',
        ((each.number, WIDTH, _bars(each, begin, span, now)) for each in attempts),
    )
    axis = format_html(
        '<div class="telltale-axis"><span>{}</span><span>{}</span></div>', *map(instant_text, (begin, end))
    )
    return format_html('<div class="telltale-lanes" aria-hidden="true">{}{}</div>', lanes, axis)


def _bars(attempt: ShownAttempt, begin: float, span: float, now: float) -> SafeString:
    return format_html_join(
        "",
        '<rect class="telltale-{}" x="{}" y="{}" width="{}" height="{}"/>',
        ((kind, *_place(start, stop, begin, span, height)) for kind, start, stop, height in _spans(attempt, now)),
    )


def _spans(attempt: ShownAttempt, now: float) -> Iterator[tuple[str, float, float, int]]:
    """Yield the bars: kind, begin and end in seconds since 1970, and the height in tenths of a lane."""
    ended_at = now if attempt.ended_at is None else attempt.ended_at
    if attempt.queued_at is not None:
        yield "waited", attempt.queued_at, ended_at if attempt.started_at is None else attempt.started_at, 4
    if attempt.started_at is not None:
        left_running = attempt.is_past and attempt.state is State.RUNNING
        yield "bad" if left_running else KINDS.get(attempt.state, "running"), attempt.started_at, ended_at, 10


def _place(start: float, stop: float, begin: float, span: float, height: int) -> tuple[str, str, str, str]:
    width = max(THINNEST, (stop - start) / span * WIDTH)
    x = min((start - begin) / span * WIDTH, WIDTH - width)
    return f"{max(x, 0):.1f}", f"{(10 - height) / 2:g}", f"{min(width, WIDTH):.1f}", f"{height}"
