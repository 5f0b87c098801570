"""`{% telltale %}` for the head of a page, `{% task_progress task %}` for a bar that works before the script does.

What a page may hear is said by the ticket that the first tag puts into it; the browser's modules are mapped
to their static addresses, hashed or not, by an import map (docs/decisions/0002-import-map.md). Every tag that
a Content-Security-Policy asks about carries the nonce.
"""

import json
from pathlib import Path
from typing import Any, Final

from django import template
from django.conf import settings as django_settings
from django.http import HttpRequest
from django.middleware.csrf import get_token
from django.templatetags.static import static
from django.urls import reverse
from django.utils.html import conditional_escape, format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import get_language

from telltale import store
from telltale.conf import settings
from telltale.core.health import health
from telltale.core.states import RETRIABLE, State
from telltale.dispatch.control import is_repeatable
from telltale.models import TaskState
from telltale.owners import Owner, django_request
from telltale.pages import permissions, task_text

register = template.Library()

_STATIC: Final = Path(__file__).parent.parent / "static" / "telltale"
MODULES: Final = tuple(sorted(path.relative_to(_STATIC).as_posix() for path in _STATIC.rglob("*.js")))
PLACE_OF_ID: Final = "00000000-0000-0000-0000-000000000000"
"""Stands for an id in the addresses that the browser is given."""

# What would end a script element early, or begin another, is written as JSON's own escapes.
_IN_SCRIPT: Final = {ord("<"): "\\u003C", ord(">"): "\\u003E", ord("&"): "\\u0026"}


@register.simple_tag(takes_context=True)
def telltale(context: template.Context, *shared: TaskState) -> SafeString:
    """Style, modules and ticket, for the head. Name the tasks of others that the page shows: `{% telltale task %}`."""
    request = _request(context, "telltale")
    nonce = _nonce(context, request)
    return SafeString(
        format_html(
            '<link rel="stylesheet" href="{}">{}{}{}{}',
            static("telltale/telltale.css"),
            _script(json.dumps({"imports": import_map()}), "importmap", nonce),
            _script(json.dumps(page_data(request, shared)), "application/json", nonce, ' id="telltale-page"'),
            format_html_join(
                "", '<link rel="modulepreload" href="{}"{}>', ((static(f"telltale/{m}"), nonce) for m in MODULES)
            ),
            format_html('<script type="module" src="{}"{}></script>', static("telltale/elements.js"), nonce),
        )
    )


@register.inclusion_tag("telltale/task_progress.html", takes_context=True)
def task_progress(context: template.Context, task: TaskState, heading: int = 0, link: bool = False) -> dict[str, Any]:
    """The task's bar, words and buttons. `heading` makes its label an <h1> (or 2, 3 …), `link` leads to its page."""
    request = _request(context, "task_progress")
    now, snapshot = store.now(), task.snapshot
    doing = health(snapshot, now=now, limits=settings())
    owner = Owner.of(request).topic
    mine = owner is not None and owner == task.owner_topic
    return {
        "task": task,
        "snapshot": snapshot,
        "health": doing,
        "words": task_text.tell(snapshot, doing, now=now),
        "say": {key: task_text.say(key) for key in ("cancel", "try_again", "start_again", "open_result")},
        "mine": mine,
        "may_cancel": not snapshot.ended and doing != "stalled" and not snapshot.cancel_requested,
        "may_retry": snapshot.state in RETRIABLE,
        "is_repeatable": is_repeatable(task),
        "result": safe_url(snapshot.result),
        "was_cancelled": snapshot.state is State.CANCELLED,
        "heading": f"h{heading}" if heading else "p",
        "url": reverse("telltale:task", args=[task.pk]) if link else "",
        "next": request.get_full_path(),
        "csrf_token": context.get("csrf_token") or get_token(request),
    }


@register.filter
def bar_value(share: float | None) -> SafeString:
    """The attribute that fills a <progress> so far, in no language's figures; nothing while nothing is known."""
    return format_html(' value="{}"', f"{share:.4f}".rstrip("0").rstrip(".")) if share is not None else mark_safe("")


@register.filter
def safe_url(url: str | None) -> str:
    """The address if it leads to a web page of this or another site; a task's own text might not."""
    start = (url or "").strip().lower()
    is_web = start.startswith(("https://", "http://", "/", "?", "#")) or ":" not in start.split("/")[0]
    return url.strip() if url and is_web else ""


def import_map() -> dict[str, str]:
    """The modules' names for `import`, and where each is served."""
    return {"telltale": static("telltale/index.js")} | {f"telltale/{m}": static(f"telltale/{m}") for m in MODULES}


def page_data(request: HttpRequest, shared: tuple[TaskState, ...] = ()) -> dict[str, Any]:
    """What the browser's side must know of this page, its follower and the server."""
    ticket, limits = permissions.for_page(request, [str(task.pk) for task in shared]), settings()
    hides_cookie = django_settings.CSRF_USE_SESSIONS or django_settings.CSRF_COOKIE_HTTPONLY
    return {
        "ticket": ticket.ticket,
        "topics": sorted(ticket.topics),
        "expires_at": ticket.expires_at,
        "now": store.now(),
        "limits": {"quiet_s": limits.quiet_s, "stalled_s": limits.stalled_s, "lease_s": limits.lease_s},
        "urls": {
            "live": reverse("telltale:live"),
            "ticket": reverse("telltale:ticket"),
            "task": reverse("telltale:task", args=[PLACE_OF_ID]),
            "take": reverse("telltale:take_notice", args=[PLACE_OF_ID]),
        },
        "csrf": {"token": get_token(request), "cookie": None if hides_cookie else django_settings.CSRF_COOKIE_NAME},
        "language": get_language() or "",
        "words": task_text.catalogue(),
    }


def _request(context: template.Context, tag: str) -> HttpRequest:
    request: HttpRequest | None = context.get("request")
    if request is None or django_request(request) is None:
        raise template.TemplateSyntaxError(
            f"{{% {tag} %}} must know who asks, but the context has no request: render with the request, and put "
            "'django.template.context_processors.request' into the template engine's context processors."
        )
    return request


def _nonce(context: template.Context, request: HttpRequest) -> SafeString:
    """Django 6's nonce is in the context or in `request._csp_nonce`, django-csp's in `request.csp_nonce`."""
    found = (context.get("csp_nonce"), getattr(request, "csp_nonce", None), getattr(request, "_csp_nonce", None))
    # Both make the nonce when it is read, and it is false until then: so it is read before it is tested.
    nonce = next((text for lazy in found if lazy is not None and (text := str(lazy))), "")
    return format_html(' nonce="{}"', nonce) if nonce else mark_safe("")


def _script(text: str, kind: str, nonce: SafeString, more: str = "") -> SafeString:
    # Everything here is ours or escaped: the text by JSON's escapes, the nonce by format_html.
    inert = text.translate(_IN_SCRIPT)
    return mark_safe(f'<script type="{kind}"{more}{conditional_escape(nonce)}>{inert}</script>')  # noqa: S308
