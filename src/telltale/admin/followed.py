"""`FollowedAdminMixin`: bulk actions of any `ModelAdmin` as followed tasks, each with its bar above the list.

The ids of the tasks are kept in the session, by the list on which they were started, until they have been shown ended.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Final
from uuid import UUID

from django.contrib import admin as django_admin
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.utils.functional import lazy
from django.utils.translation import gettext as _

from telltale import store
from telltale.dispatch.enqueue import enqueue
from telltale.dispatch.registry import runner_of
from telltale.dispatch.runner import EnqueueFailed, TaskOptions, options_of
from telltale.models import TaskState
from telltale.pages.permissions import may_see

IN_SESSION: Final = "telltale_admin"
"""The key under which the session has the ids of tasks, by list."""

SHOWN: Final = 5
"""A list shows this many of its newest tasks."""


class FollowedAdminMixin:
    """Makes tasks bulk actions: each in `followed_actions` is enqueued with the primary keys of the selected rows.

    The keys are one list; those that JSON lacks, such as UUIDs, are texts. Place it before `ModelAdmin`.
    """

    followed_actions: ClassVar[Sequence[Any]] = ()
    """Tasks that `telltale.enqueue` takes."""
    followed_permissions: ClassVar[Sequence[str]] = ("change",)
    """The permissions that these actions need, as in `admin.action(permissions=…)`."""
    followed_limit: ClassVar[int] = 10_000
    """The most rows of one task: their keys travel in its message."""

    change_list_template = "admin/telltale/followed_change_list.html"

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        added = (
            _action(f"followed_{n}", task, self.followed_permissions) for n, task in enumerate(self.followed_actions)
        )
        self.actions = [*(getattr(self, "actions", None) or ()), *added]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Show the list, with the bars of the tasks that were started on it."""
        context = {"telltale_tasks": self._followed_tasks(request)} if request.method == "GET" else {}
        response: HttpResponse = super().changelist_view(request, context | (extra_context or {}))  # type: ignore[misc]
        return response

    def _followed_tasks(self, request: HttpRequest) -> list[TaskState]:
        lists = request.session.get(IN_SESSION, {})
        found = (store.get_task(task_id) for task_id in lists.get(_list_name(self), ()))
        tasks = [task for task in found if task is not None and may_see(request, task)]
        _keep(request, self, [task.pk for task in tasks if not task.snapshot.ended])
        return tasks


def _action(name: str, task: Any, permissions: Sequence[str]) -> Callable[..., None]:
    """Return the action that starts the task. Its label is asked for when shown: the task's runner is ready then."""

    def action(admin: Any, request: HttpRequest, queryset: Any) -> None:
        _start(admin, request, queryset, task=task)

    action.__name__ = name
    return django_admin.action(action, permissions=permissions, description=lazy(_label, str)(task))


def _start(admin: Any, request: HttpRequest, queryset: Any, *, task: Any) -> None:
    keys = list(queryset.values_list("pk", flat=True)[: admin.followed_limit + 1])
    if len(keys) > admin.followed_limit:
        text = _("At most %(n)s rows can be selected for this action. Nothing was started.")
        admin.message_user(request, text % {"n": admin.followed_limit}, messages.ERROR)
        return
    try:
        started = enqueue(task, [key if isinstance(key, int | str) else str(key) for key in keys], owner=request)
    except EnqueueFailed:
        admin.message_user(request, _("The task couldn't be started. Try again later."), messages.ERROR)
        return
    known = request.session.get(IN_SESSION, {}).get(_list_name(admin), [])
    _keep(request, admin, [started.pk, *known][:SHOWN])


def _keep(request: HttpRequest, admin: Any, task_ids: Iterable[UUID | str]) -> None:
    """Remember the tasks of this list; the session is saved only if they have changed."""
    lists, name, ids = request.session.get(IN_SESSION, {}), _list_name(admin), [str(task_id) for task_id in task_ids]
    if lists.get(name, []) != ids:
        request.session[IN_SESSION] = {**lists, name: ids}


def _list_name(admin: Any) -> str:
    return f"{admin.admin_site.name}:{admin.opts.label_lower}"


def _label(task: Any) -> str:
    runner = runner_of(task)
    options = options_of(runner.function_of(task)) or TaskOptions()
    return options.label_for(runner.name_of(task))
