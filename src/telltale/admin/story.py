"""The story of a task, on its page in the admin: its attempts as a picture and in words, the messages to its owner, its
error, its arguments, and links to its owner and to the runner's own record."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final

from django.contrib.admin import AdminSite
from django.db.models import Model
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join
from django.utils.module_loading import import_string
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.views.debug import SafeExceptionReporterFilter

from telltale import conf, store
from telltale.admin.attempts import picture
from telltale.dispatch import registry
from telltale.dispatch.runner import KeepsRecords
from telltale.models import StoredNotice, TaskState
from telltale.pages.catalogue import message, number
from telltale.pages.durations import duration
from telltale.pages.task_text import count_text
from telltale.pages.timeline import ShownAttempt, attempts_of

NOTICES: Final = 50
"""The story shows this many of the task's newest messages to its owner."""

DASH: Final = "–"

Event = tuple[float, str]
"""An instant in seconds since 1970, and what happened then: a text or markup."""


def time_text(seconds: float | None) -> str:
    """Return an instant in the current time zone, to the second; a dash for None."""
    if seconds is None:
        return DASH
    moment = timezone.localtime(datetime.fromtimestamp(seconds, UTC))
    text = date_format(moment, "Y-m-d H:i:s")
    return format_html('<time datetime="{}">{}</time>', moment.isoformat(timespec="seconds"), text)


def timeline(task: TaskState) -> SafeString:
    """Return what happened to the task, as a picture and in order: its attempts, and the messages to its owner."""
    attempts = attempts_of(task)
    began = [event for attempt in attempts for event in _attempt_events(attempt)]
    events = sorted([*_events(task), *began, *_notices(task)], key=lambda event: event[0])
    rows = format_html_join(
        "", "<tr><th scope=row>{}</th><td>{}</td></tr>", ((time_text(at), text) for at, text in events)
    )
    return format_html('{}<table class="telltale-story">{}</table>', picture(attempts, now=store.now()), rows)


def _attempt_events(attempt: ShownAttempt) -> Iterator[Event]:
    if attempt.started_at is not None:
        values = {"n": attempt.number, "worker": attempt.worker or DASH}
        waited = "" if attempt.waited_s is None else _("waited %(time)s") % {"time": duration(attempt.waited_s)}
        yield attempt.started_at, joined(_("Attempt %(n)s began, worker %(worker)s") % values, waited)
    if attempt.ended_at is not None:
        ran = "" if attempt.ran_s is None else _("ran for %(time)s") % {"time": duration(attempt.ran_s)}
        text = joined(_("Attempt %(n)s: %(end)s") % {"n": attempt.number, "end": attempt.status}, ran)
        yield attempt.ended_at, format_html("{}{}{}", text, *_causes(attempt))


def joined(*parts: str) -> str:
    """Return the parts that are not empty, with dots between them."""
    return " · ".join(part for part in parts if part)


def _causes(attempt: ShownAttempt) -> tuple[str, str]:
    """Return the error and the exception of a past attempt. Those of the last one have a section of their own."""
    if not attempt.is_past:
        return "", ""
    error = format_html("<div>{}</div>", attempt.error) if attempt.error else ""
    return error, format_html("<div><code>{}</code></div>", attempt.exception) if attempt.exception else ""


def _events(task: TaskState) -> Iterator[Event]:
    yield task.created_at, _("Queued")
    if task.due_at is not None:
        yield task.due_at, _("Due")
    if task.moved_at is not None and task.ended_at is None:
        yield task.moved_at, _("Last progress")
    if task.beat_at is not None and task.ended_at is None:
        yield task.beat_at, _("Last contact with the worker")
    if task.missing_since is not None and task.ended_at is None:
        yield task.missing_since, _("The runner no longer has it")


def _notices(task: TaskState) -> Iterator[Event]:
    """The messages to the owner: there is one for the end of each attempt, until it is pruned."""
    notices = StoredNotice.objects.using(task._state.db).filter(task=task).order_by("-created_at")
    for notice in notices[:NOTICES]:
        shown = _("shown to the owner") if notice.shown_at is not None else _("not yet shown to the owner")
        yield notice.created_at, f"“{notice.text}” · {shown}"


def progress(task: TaskState) -> str:
    """Return the step, the stage, the message and the count, one per line."""
    now = task.snapshot.progress
    step = ""
    if now.step and now.stage:
        values = {"step": number(now.step), "activity": now.stage}
        step = message("step", **values) if now.steps is None else message("step_of", steps=number(now.steps), **values)
    lines = [step or now.stage, now.message, count_text(now, open_ended=False)]
    return format_html_join("", "<div>{}</div>", ([line] for line in lines if line)) or DASH


def error(task: TaskState) -> SafeString | str:
    """Return the error for people, and the exception with its traceback for staff."""
    parts = [format_html("<p>{}</p>", task.error) if task.error else "", preformatted(task.detail)]
    return format_html("{}{}", *parts) if any(parts) else DASH


def preformatted(text: str) -> SafeString | str:
    """Return the text as it is, in a box that scrolls; empty without text."""
    return format_html('<pre class="telltale-pre" tabindex="0">{}</pre>', text) if text else ""


def arguments(task: TaskState) -> SafeString | str:
    """Return the stored arguments as JSON, redacted by the setting `SHOWN_ARGUMENTS`."""
    call = store.call_arguments(task.call)
    if call is None:
        return _("Not stored")
    args, kwargs = call
    path = conf.settings().shown_arguments
    shown = (_function(path) if path else without_secrets)(task, {"args": list(args), "kwargs": dict(kwargs)})
    if shown is None:
        return _("Hidden by a setting")
    return preformatted(json.dumps(shown, indent=2, ensure_ascii=False, default=repr))


def without_secrets(task: TaskState, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments with stars for those whose names look secret, as on Django's error pages: the default."""
    cleansed = SafeExceptionReporterFilter().cleanse_setting
    kwargs = {name: cleansed(name, value) for name, value in arguments["kwargs"].items()}
    return {"args": cleansed("", arguments["args"]), "kwargs": kwargs}


@cache
def _function(path: str) -> Any:
    return import_string(path)


def owner_link(request: HttpRequest, site: AdminSite, task: TaskState) -> SafeString | str:
    """Return the owner with a link to their page in the admin, if there is one that the user may see."""
    if task.owner is None:
        return _("An anonymous session") if task.session else DASH
    url = _url_in_admin(request, site, task.owner)
    return str(task.owner) if url is None else format_html('<a href="{}">{}</a>', url, task.owner)


def record_link(request: HttpRequest, site: AdminSite, task: TaskState) -> SafeString | str:
    """Return a link to the runner's own record of the task, if it has one that the user may see in the admin."""
    runner: object = registry.by_name(task.runner)
    if not isinstance(runner, KeepsRecords) or not task.runner_id:
        return DASH
    record = runner.record(task.runner_id, task.queue)
    url = _url_in_admin(request, site, record) if isinstance(record, Model) else record
    if not url:
        return DASH
    name = record._meta.verbose_name if isinstance(record, Model) else task.runner_id
    return format_html('<a href="{}">{}</a>', url, name)


def _url_in_admin(request: HttpRequest, site: AdminSite, row: Model) -> str | None:
    """The page of a row in the admin; None if there is none, or the user may not see it."""
    model_admin = site._registry.get(type(row))
    if model_admin is None or not model_admin.has_view_permission(request, row):
        return None
    opts = row._meta
    try:
        return reverse(f"admin:{opts.app_label}_{opts.model_name}_change", args=[row.pk], current_app=site.name)
    except NoReverseMatch:
        return None
