"""The template tags: `{% telltale %}` for the <head>, `{% task_progress task %}` for a task's bar, text and buttons,
`{% task_messages %}` for the visitor's newest messages.

`{% telltale %}` writes the ticket that lists the topics this page may follow, and an import map from module names to
static URLs, hashed or not (docs/decisions/0002-import-map.md); in a built package, all names lead to one file. A page
that shows a running task asks for its present state while the modules arrive. Script and preload tags carry the nonce
of the Content-Security-Policy. `{% task_progress %}` works without JavaScript.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from django import template
from django.http import HttpRequest
from django.middleware.csrf import get_token
from django.templatetags.static import static
from django.urls import reverse
from django.utils.html import conditional_escape, format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.timezone import localtime

from telltale import store
from telltale.conf import settings
from telltale.core.health import can_cancel, health, may_be_lost, offers_cancel
from telltale.core.states import RETRIABLE, State
from telltale.dispatch.control import is_repeatable
from telltale.models import StoredNotice, TaskState
from telltale.owners import Owner, django_request
from telltale.page_data import page_data
from telltale.pages import browser_files, catalogue, permissions, task_text
from telltale.pages.timeline import Moment, instant_text

register = template.Library()

_HAS_SCRIPTS: Final = "_telltale_has_scripts"
"""An attribute of requests."""

# Characters that could end the script element or start another are written as JSON escapes.
_SCRIPT_ESCAPES: Final = {ord("<"): "\\u003C", ord(">"): "\\u003E", ord("&"): "\\u0026"}


@register.simple_tag(takes_context=True)
def telltale(context: template.Context, *shared: TaskState, imports: Mapping[str, str] | None = None) -> SafeString:
    """Return the style sheet, modules and ticket, for the <head>.

    `shared`: tasks of other people that the page shows, as in `{% telltale task %}`. `imports`: names and URLs of the
    site's own modules, for the page's import map: not every browser accepts a second one.
    """
    request = _request(context, "telltale")
    setattr(django_request(request), _HAS_SCRIPTS, True)
    nonce = nonce_attribute(context, request)
    return SafeString(
        format_html(
            '<link rel="stylesheet" href="{}">{}{}{}{}{}',
            browser_files.url_of_style_sheet(),
            _json_script({"imports": {**(imports or {}), **import_map()}}, "importmap", nonce),
            _json_script(page_data(request, shared), "application/json", nonce, ' id="telltale-page"'),
            _script(mark_safe(browser_files.first_request()), "module", nonce, " async"),  # noqa: S308 (our own file)
            format_html_join(
                "",
                '<link rel="modulepreload" href="{}"{}>',
                ((static(f"telltale/{file}"), nonce) for file in browser_files.module_files()),
            ),
            format_html(
                '<script type="module" src="{}"{}></script>', browser_files.url_of_module("elements.js"), nonce
            ),
        )
    )


def has_scripts(request: HttpRequest) -> bool:
    """Whether `{% telltale %}` was rendered for this request, so that the page's scripts show notices."""
    return hasattr(request, _HAS_SCRIPTS)


@register.inclusion_tag("telltale/task_progress.html", takes_context=True)
def task_progress(
    context: Mapping[str, Any] | template.Context,
    task: TaskState,
    heading: int = 0,
    link: bool = False,
    buttons: bool = True,
    notify: str = "",
) -> dict[str, Any]:
    """Return the context of the task's bar, text and buttons.

    `heading`: the level of the heading that the label becomes (1 for <h1>); 0 for a paragraph. `link`: whether the
    label links to the task's page. `buttons`: whether to show buttons to cancel and to run again, if the visitor may;
    they are forms, which can't stand within another form. `notify`: "always" or "never" shows the button "Tell me when
    it's done"; without it, tasks that take some seconds have the button.
    """
    request = _request(context, "task_progress")
    now = store.now()
    shown = _shown(request, task, now=now)
    snapshot = shown["snapshot"]
    return {
        **shown,
        "buttons": {key: catalogue.message(key) for key in ("cancel", "try_again", "start_again", "open_result")},
        # Shown by the style sheet while the modules have not run.
        "unloaded": catalogue.message("connection_ended"),
        "may_cancel": buttons and permissions.may_act(request, task, "cancel"),
        "may_run_again": buttons and permissions.may_act(request, task, "retry"),
        "is_from_other": task.is_shared and task.owner_topic is not None and not shown["is_own"],
        "offers_cancel": offers_cancel(snapshot),
        "can_cancel": can_cancel(snapshot),
        "may_retry": snapshot.state in RETRIABLE or may_be_lost(snapshot, now=now),
        "is_repeatable": is_repeatable(task),
        "result": safe_url(snapshot.result),
        "was_cancelled": snapshot.state is State.CANCELLED,
        "heading": f"h{heading}" if heading else "p",
        "notify": notify,
        "url": reverse("telltale:task", args=[task.pk]) if link else "",
        # htmx puts the bar into another page. The view of the buttons checks that the address is this site's.
        "next": request.headers.get("HX-Current-URL") or request.get_full_path(),
        "csrf_token": context.get("csrf_token") or get_token(request),
    }


@register.inclusion_tag("telltale/task_status.html", takes_context=True)
def task_status(context: Mapping[str, Any] | template.Context, task: TaskState) -> dict[str, Any]:
    """Return the context of the task in one line: an icon, its label, which leads to its page, and how far it is."""
    return _shown(_request(context, "task_status"), task, now=store.now())


@register.inclusion_tag("telltale/task_messages.html", takes_context=True)
def task_messages(context: template.Context, limit: int = 5) -> dict[str, Any]:
    """Return the context of the visitor's newest `limit` messages, with a link to all.

    A message counts as seen when a page's script finds that it was painted, or when the list of all shows it.
    """
    request = _request(context, "task_messages")
    return {"listed": store.list_messages(Owner.of(request), limit=limit).messages, "limit": limit}


@register.inclusion_tag("telltale/message_list.html")
def message_list(rows: Iterable[StoredNotice]) -> dict[str, Any]:
    """Return the context of a list of messages, each with its time and its link."""
    return {
        "messages": [
            {
                "row": row,
                "is_new": row.shown_at is None,
                "created_at": localtime(datetime.fromtimestamp(row.created_at, UTC)),
                "url": safe_url(row.url),
            }
            for row in rows
        ]
    }


@register.simple_tag
def telltale_text(key: str) -> str:
    """Return a text of the catalogue that pages share with their scripts."""
    return catalogue.message(key)


@register.filter
def moment_line(moment: Moment) -> SafeString:
    """Return when a moment of a timeline began and ended, in the current time zone, and its detail."""
    instants = [_time(seconds) for seconds in (moment.from_at, moment.until_at) if seconds is not None]
    times = format_html_join(" – ", "{}", ([instant] for instant in instants))
    return format_html_join(" · ", "{}", ([part] for part in (times, moment.detail) if part))


def _time(seconds: float) -> SafeString:
    moment = localtime(datetime.fromtimestamp(seconds, UTC))
    return format_html('<time datetime="{}">{}</time>', moment.isoformat(timespec="seconds"), instant_text(seconds))


@register.filter
def task_label(task: TaskState) -> str:
    """Return the task's name for people, never empty."""
    return task_text.label_of(task)


@register.filter
def ticks_path(borders: Sequence[float]) -> str:
    """Return the path of the ticks at these shares of the bar, in an SVG one wide and high."""
    return "".join(f"M{border:g} 0v1" for border in borders)


@register.filter
def bar_value(share: float | None) -> SafeString:
    """Return the `value` attribute of a <progress>, formatted independently of the language; empty for None."""
    return format_html(' value="{}"', f"{share:.4f}".rstrip("0").rstrip(".")) if share is not None else mark_safe("")


@register.filter
def safe_url(url: str | None) -> str:
    """Return the URL if it is relative, http or https, else an empty string: a task may set any text as its result."""
    start = (url or "").strip().lower()
    # A colon after one of these characters ends no scheme.
    is_web = start.startswith(("https://", "http://")) or ":" not in re.split("[/?#]", start, maxsplit=1)[0]
    return url.strip() if url and is_web else ""


def import_map() -> dict[str, str]:
    """Return the URL of each module by its name for `import`."""
    url = browser_files.url_of_module
    modules = {"telltale": url("index.js")} | {f"telltale/{name}": url(name) for name in browser_files.MODULES}
    url = browser_files.url_for_framework
    return modules | {f"telltale/{name}": url(name) for name in browser_files.FOR_FRAMEWORKS}


def _shown(request: HttpRequest, task: TaskState, *, now: float) -> dict[str, Any]:
    """Return what every tag shows of a task. `rendered` is for the element's script: it keeps what was rendered until a
    snapshot is newer."""
    snapshot = task.snapshot
    task_health = health(snapshot, now=now, limits=settings().limits)
    return {
        "task": task,
        "snapshot": snapshot,
        "rendered": f"{task.pk} {snapshot.attempt} {int(snapshot.ended)} {snapshot.seq}",
        "health": task_health,
        "text": task_text.describe(snapshot, task_health, now=now),
        "is_own": permissions.is_owner(request, task),
    }


def _request(context: Mapping[str, Any] | template.Context, tag: str) -> HttpRequest:
    request: HttpRequest | None = context.get("request")
    if request is None or django_request(request) is None:
        raise template.TemplateSyntaxError(
            f"{{% {tag} %}} needs the request, but the template context has none. Render with the request, and add "
            "'django.template.context_processors.request' to the template engine's context processors."
        )
    return request


def nonce_attribute(context: template.Context, request: HttpRequest) -> SafeString:
    """Return the attribute of a script of the page, with a space before it; empty without a policy.

    Django 6 puts the nonce into the context or `request._csp_nonce`, django-csp into `request.csp_nonce`.
    """
    nonces = (context.get("csp_nonce"), getattr(request, "csp_nonce", None), getattr(request, "_csp_nonce", None))
    # Both create the nonce on first use, and it is falsy before: str() must come before the test.
    nonce = next((text for lazy in nonces if lazy is not None and (text := str(lazy))), "")
    return format_html(' nonce="{}"', nonce) if nonce else mark_safe("")


def _json_script(content: Mapping[str, Any], kind: str, nonce: SafeString, attributes: str = "") -> SafeString:
    text = json.dumps(content).translate(_SCRIPT_ESCAPES)
    return _script(mark_safe(text), kind, nonce, attributes)  # noqa: S308 (escaped as JSON)


def _script(text: SafeString, kind: str, nonce: SafeString, attributes: str = "") -> SafeString:
    # Safe: `kind` and `attributes` are constants, the nonce is escaped by format_html.
    return mark_safe(f'<script type="{kind}"{attributes}{conditional_escape(nonce)}>{text}</script>')  # noqa: S308
