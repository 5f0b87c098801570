"""`telltale.accepted`: the answer of a view that has started a task.

Programs get 202 with where to ask and when, browsers are sent to the task's page. A client that says
`Prefer: wait=5` (RFC 7240) is kept for that long, and gets the end itself if it comes in time.
"""

import re
import time
from typing import Any, Final

from django.db import connections
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.cache import patch_vary_headers

from telltale import conf, store
from telltale.models import TaskState
from telltale.pages.responses import no_store, task_answer, wants_page

MOST_WAIT_S: Final = 30.0
LOOKS_S: Final = (0.05, 0.1, 0.2, 0.4)
"""Between two looks at the store: quick at first, then the last for as long as it takes."""


def accepted(request: HttpRequest, task: Any, *, next_url: str | None = None, wait: float = 0.0) -> HttpResponseBase:
    """202 with `Location` and `Retry-After` for programs, 303 for browsers.

    `request`: Django's, or a wrapper around it such as Django REST framework's.
    `task`: what `telltale.enqueue` gave, or what the runner's own call did. `next_url`: where browsers go
    instead of the task's page. `wait`: seconds to wait for the end where the client does not say (at most 30).
    Raises `LookupError` if the task has no row: its function is not tracked.
    """
    row = _row_of(task)
    if wants_page(request):
        response = HttpResponse(status=303, headers={"Location": next_url or _page(row)})
        return no_store(response)
    wish = Wish.of(request)
    waits_s = wish.wait_s if wish.wait_s is not None else 0.0 if wish.is_async else wait
    row = _awaited(row, min(waits_s, MOST_WAIT_S))
    answer = task_answer(request, row, status=200 if row.snapshot.ended else 202)
    answer.headers["Location"] = _page(row)
    if wish.applied:
        answer.headers["Preference-Applied"] = wish.applied
    patch_vary_headers(answer, ["Prefer"])
    return answer


class Wish:
    """What a `Prefer` header asks of this answer; what it says otherwise is not ours."""

    def __init__(self, header: str) -> None:
        asked: dict[str, str] = {}
        for part in re.split(r"[,;]", header):
            name, _, value = part.partition("=")
            # RFC 7240: of a preference that is there twice, the first counts.
            asked.setdefault(name.strip().lower(), value.strip().strip('"'))
        self.is_async = "respond-async" in asked
        said = asked.get("wait", "")
        self.wait_s = float(said[:9]) if said.isascii() and said.isdigit() else None

    @classmethod
    def of(cls, request: HttpRequest) -> "Wish":
        """The request's."""
        return cls(request.headers.get("Prefer", ""))

    @property
    def applied(self) -> str:
        """What `Preference-Applied` says."""
        heeded = ["respond-async"] if self.is_async else []
        if self.wait_s is not None:
            heeded.append(f"wait={min(self.wait_s, MOST_WAIT_S):.0f}")
        return ", ".join(heeded)


def _row_of(task: Any) -> TaskState:
    if isinstance(task, TaskState):
        return task
    runner_id = getattr(task, "id", None)
    rows = store.task_rows()
    row = rows.filter(runner_id=str(runner_id)).order_by("-created_at").first() if runner_id else None
    if row is None:
        raise LookupError(
            f"{task!r} has no row to answer with: give what telltale.enqueue returned, or put @telltale.tracked "
            "beneath the task's own decorator."
        )
    return row


def _awaited(row: TaskState, wait_s: float) -> TaskState:
    """The row as it is now, or as it is when it has ended, or when the time is up."""
    until = time.monotonic() + wait_s
    looks = iter(LOOKS_S)
    nap_s = LOOKS_S[-1]
    while True:
        fresh = store.get_task(row.pk) or row
        # Inside a transaction the runner has not been asked yet: waiting would only put that off.
        can_end = not connections[conf.settings().database].in_atomic_block
        left_s = until - time.monotonic()
        if fresh.snapshot.ended or not can_end or left_s <= 0:
            return fresh
        nap_s = next(looks, nap_s)
        time.sleep(min(nap_s, left_s))


def _page(row: TaskState) -> str:
    return reverse("telltale:task", args=[row.pk])
