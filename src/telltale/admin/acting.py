"""Acting on tasks in the admin: buttons in each row, and bulk actions, by the permissions of `models.TaskState`.

Who acted is recorded in the admin's log.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST

from telltale import store
from telltale.dispatch.control import is_repeatable
from telltale.models import TaskState
from telltale.pages.actions import ActionRefused, can_force, cancel_task, retry_task
from telltale.pages.catalogue import message
from telltale.pages.guards import without_transaction
from telltale.pages.responses import return_url
from telltale.pages.task_text import label_of

AT_ONCE: Final = 500
"""A bulk action takes at most this many tasks: each is a few statements, in one request."""

SHOWN_REASONS: Final = 3
"""A bulk action names at most this many of the tasks that it could not change."""

ACTIONS: Final[Mapping[str, Callable[[TaskState], TaskState]]] = {
    "cancel": cancel_task,
    "terminate": partial(cancel_task, force=True),
    "retry": retry_task,
}
"""By the name that also begins the permission, as in `telltale.cancel_taskstate`."""

LOGGED: Final = {
    "cancel": _("Asked to stop."),
    "terminate": _("Forced to stop."),
    "retry": _("Run again."),
}


class ActsOnTasks(admin.ModelAdmin):  # type: ignore[type-arg]
    """The actions, their permissions and their buttons."""

    actions = ("cancel_tasks", "terminate_tasks", "retry_tasks")

    def get_urls(self) -> list[URLPattern]:
        """Return the addresses of the buttons, before those of the admin."""
        view = self.admin_site.admin_view(self.act_view)
        return [
            path("<uuid:task_id>/act/<str:action>/", without_transaction(view), name="telltale_taskstate_act"),
            *super().get_urls(),
        ]

    def may(self, request: HttpRequest, action: str) -> bool:
        """Whether the user has the permission for the action."""
        return bool(request.user.has_perm(f"{self.opts.app_label}.{action}_{self.opts.model_name}"))

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        """Whether the user may cancel tasks."""
        return self.may(request, "cancel")

    def has_terminate_permission(self, request: HttpRequest) -> bool:
        """Whether the user may force tasks to stop."""
        return self.may(request, "terminate")

    def has_retry_permission(self, request: HttpRequest) -> bool:
        """Whether the user may run tasks again."""
        return self.may(request, "retry")

    def buttons(self, request: HttpRequest, task: TaskState) -> SafeString:
        """Return the buttons for the task. The style sheet shows those that fit its live state.

        They belong to the form around them, since forms can't be nested; so they have addresses of their own.
        """
        is_possible = {"cancel": True, "terminate": can_force(task), "retry": is_repeatable(task)}
        texts = {"cancel": message("cancel"), "terminate": _("Force to stop"), "retry": message("try_again")}
        buttons = format_html_join(
            "",
            '<button type="submit" class="telltale-act" data-action="{}" formaction="{}" name="next" value="{}">{}'
            '<span class="visually-hidden">: {}</span></button>',
            (
                (action, self._act_url(task, action), request.get_full_path(), text, label_of(task))
                for action, text in texts.items()
                if is_possible[action] and self.may(request, action)
            ),
        )
        return format_html('<div class="telltale-acts">{}</div>', buttons) if buttons else SafeString()

    def _act_url(self, task: TaskState, action: str) -> str:
        return reverse("admin:telltale_taskstate_act", args=[task.pk, action], current_app=self.admin_site.name)

    @method_decorator(require_POST)
    def act_view(self, request: HttpRequest, task_id: Any, action: str) -> HttpResponseBase:
        """Carry out the action of a button, and return to its page."""
        if action not in ACTIONS or not (self.has_view_permission(request) and self.may(request, action)):
            raise PermissionDenied
        task = store.get_task(task_id)
        if task is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, str(task_id))  # type: ignore[attr-defined, no-any-return]
        self._act_on(request, action, [task])
        changelist = reverse("admin:telltale_taskstate_changelist", current_app=self.admin_site.name)
        return HttpResponseRedirect(return_url(request, otherwise=changelist))

    @admin.action(description=_("Stop selected tasks"), permissions=["cancel"])
    def cancel_tasks(self, request: HttpRequest, queryset: Any) -> None:
        """Cancel the selected tasks."""
        self._act_on_selected(request, "cancel", queryset)

    @admin.action(description=_("Force selected tasks to stop"), permissions=["terminate"])
    def terminate_tasks(self, request: HttpRequest, queryset: Any) -> None:
        """Force the selected tasks to stop."""
        self._act_on_selected(request, "terminate", queryset)

    @admin.action(description=_("Run selected tasks again"), permissions=["retry"])
    def retry_tasks(self, request: HttpRequest, queryset: Any) -> None:
        """Run the selected tasks again."""
        self._act_on_selected(request, "retry", queryset)

    def _act_on_selected(self, request: HttpRequest, action: str, queryset: Any) -> None:
        ids = list(queryset.values_list("pk", flat=True)[: AT_ONCE + 1])
        if len(ids) > AT_ONCE:
            text = _("At most %(n)s tasks can be changed at once. Select fewer; nothing was changed.") % {"n": AT_ONCE}
            self.message_user(request, text, messages.ERROR)
            return
        tasks = (store.get_task(pk) for pk in ids)
        self._act_on(request, action, (task for task in tasks if task is not None))

    def _act_on(self, request: HttpRequest, action: str, tasks: Iterable[TaskState]) -> None:
        done, refusals = 0, []
        for task in tasks:
            try:
                ACTIONS[action](task)
            except ActionRefused as refusal:
                refusals.append(f"{label_of(task)}: {refusal}")
            else:
                done += 1
                self.log_change(request, task, str(LOGGED[action]))
        if done:
            self.message_user(request, _done_text(action, done), messages.SUCCESS)
        for text in refusals[:SHOWN_REASONS]:
            self.message_user(request, text, messages.WARNING)
        if (more := len(refusals) - SHOWN_REASONS) > 0:
            text = ngettext("%(n)s more task was not changed.", "%(n)s more tasks were not changed.", more)
            self.message_user(request, text % {"n": more}, messages.WARNING)


def _done_text(action: str, n: int) -> str:
    text = {
        "cancel": ngettext(
            "Asked %(n)s task to stop. A running task stops at its next safe point.",
            "Asked %(n)s tasks to stop. Running tasks stop at their next safe point.",
            n,
        ),
        "terminate": ngettext("Forced %(n)s task to stop.", "Forced %(n)s tasks to stop.", n),
        "retry": ngettext("Started %(n)s task again.", "Started %(n)s tasks again.", n),
    }[action]
    return text % {"n": n}
