"""`telltale.accepted`: the response of a view that has started a task.

Programs get 202 with the task's URL and the time to poll again; browsers are redirected to the task's page. With
`Prefer: wait=5` (RFC 7240) the response waits up to 5 seconds for the task to end. htmx gets the task's bar, which it
puts into its target: a page that uses htmx stays where it is, so a redirect is for views that name one.
"""

import re
import time
from itertools import chain, repeat
from typing import Any, Final

from django.db import connections
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils.cache import patch_vary_headers

from telltale import conf, store
from telltale.models import TaskState
from telltale.owners import django_request
from telltale.pages.responses import accepts_anything, is_from_htmx, no_store, task_answer, wants_page

MAX_WAIT_S: Final = 30.0
READ_AFTER_S: Final = (0.05, 0.1, 0.2, 0.4)
"""Pauses between reads of the store while waiting; the last is repeated."""

SENT_BY_PROGRAMS: Final = ("Authorization", "Prefer", "X-CSRFToken", "X-Requested-With")
"""Headers of programs, and of scripts in pages."""


def accepted(request: HttpRequest, task: Any, *, next_url: str | None = None, wait: float = 0.0) -> HttpResponseBase:
    """Return 202 with `Location` and `Retry-After` for programs, 303 for browsers, the task's bar for htmx.

    A client that accepts */* counts as a browser, unless something shows that it is a program: credentials, a
    preference, a script's header, or a body of JSON. For htmx, `next_url` becomes `HX-Redirect`; boosted requests are
    redirected as browsers are.

    `request`: Django's, or a wrapper around it such as Django REST framework's. `task`: the result of
    `telltale.enqueue`, or of the runner's own call. `next_url`: where browsers are redirected instead of the task's
    page. `wait`: seconds to wait for the task's end, at most 30; a client may prefer less (`Prefer: wait=5`), not more,
    because each wait holds a thread of the server. Raises `LookupError` if the task has no row, because its function is
    not tracked.
    """
    row = _row_of(task)
    is_for_htmx = is_from_htmx(request) and request.headers.get("HX-Boosted") != "true"
    if is_for_htmx and next_url:
        return no_store(HttpResponse(status=204, headers={"HX-Redirect": next_url}))
    if not is_for_htmx and (wants_page(request) or (accepts_anything(request) and not _is_from_program(request))):
        return no_store(HttpResponse(status=303, headers={"Location": next_url or _page_url(row)}))
    preference = Preference.of(request)
    row = _row_after_waiting(row, preference.wait_s(wait))
    status = 200 if row.snapshot.ended else 202
    response = _bar(request, row, status) if is_for_htmx else task_answer(request, row, status=status)
    response.headers["Location"] = _page_url(row)
    if applied := preference.applied(wait):
        response.headers["Preference-Applied"] = applied
    patch_vary_headers(response, ["Prefer"])
    return response


class Preference:
    """The preferences `respond-async` and `wait` of a `Prefer` header; others are ignored."""

    def __init__(self, header: str) -> None:
        preferences: dict[str, str] = {}
        for part in re.split(r"[,;]", header):
            name, _, value = part.partition("=")
            # RFC 7240: if a preference is repeated, the first one counts.
            preferences.setdefault(name.strip().lower(), value.strip().strip('"'))
        self.is_async = "respond-async" in preferences
        wait = preferences.get("wait", "")
        self._wait_s = float(wait[:9]) if wait.isascii() and wait.isdigit() else None

    @classmethod
    def of(cls, request: HttpRequest) -> "Preference":
        """Return the request's preference."""
        return cls(request.headers.get("Prefer", ""))

    def wait_s(self, longest_s: float) -> float:
        """Return how long to wait, in seconds: what the client prefers, but at most `longest_s` and `MAX_WAIT_S`."""
        longest_s = min(longest_s, MAX_WAIT_S)
        if self._wait_s is not None:
            return min(self._wait_s, longest_s)
        return 0.0 if self.is_async else longest_s

    def applied(self, longest_s: float) -> str:
        """The value of `Preference-Applied`."""
        applied = ["respond-async"] if self.is_async else []
        if self._wait_s is not None:
            applied.append(f"wait={self.wait_s(longest_s):.0f}")
        return ", ".join(applied)


def _is_from_program(request: HttpRequest) -> bool:
    """Whether a header that browsers do not send by themselves shows that a program sent the request."""
    return request.content_type == "application/json" or any(name in request.headers for name in SENT_BY_PROGRAMS)


def _bar(request: HttpRequest, row: TaskState, status: int) -> HttpResponse:
    """Return the task's bar as a fragment of a page."""
    page_request = django_request(request) or request
    response = render(page_request, "telltale/fragment.html", {"task": row}, status=status)
    no_store(response)
    return response


def _row_of(task: Any) -> TaskState:
    if isinstance(task, TaskState):
        return task
    runner_id = getattr(task, "id", None)
    rows = store.task_rows()
    row = rows.filter(runner_id=str(runner_id)).order_by("-created_at").first() if runner_id else None
    if row is None:
        raise LookupError(
            f"{task!r} has no row. Pass the result of telltale.enqueue, or put @telltale.tracked below the "
            "task's own decorator."
        )
    return row


def _row_after_waiting(row: TaskState, wait_s: float) -> TaskState:
    """Return the row once its task has ended, or as it is after `wait_s` seconds."""
    until = time.monotonic() + wait_s
    pauses_s = chain(READ_AFTER_S, repeat(READ_AFTER_S[-1]))
    while True:
        row = store.get_task(row.pk) or row
        # Inside a transaction the task is not handed to its runner before the commit, so waiting only delays it.
        can_end = not connections[conf.settings().database].in_atomic_block
        left_s = until - time.monotonic()
        if row.snapshot.ended or not can_end or left_s <= 0:
            return row
        time.sleep(min(next(pauses_s), left_s))


def _page_url(row: TaskState) -> str:
    return reverse("telltale:task", args=[row.pk])
