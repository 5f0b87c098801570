"""The list of tasks, and the page of one. Both are live, and read-only but for the actions."""

from typing import Any, Final
from uuid import UUID

from django.contrib import admin
from django.db.models.functions import Right
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext_lazy as _

from telltale import store
from telltale.admin import story
from telltale.admin.filters import (
    EndedFilter,
    HealthFilter,
    LabelFilter,
    NameFilter,
    OwnerFilter,
    QueueFilter,
    RunnerFilter,
    StateFilter,
    chosen_since,
)
from telltale.admin.newest import COUNTED, GROUP, LISTED, counts, is_search, newest_tasks
from telltale.admin.overviews import HasOverviews
from telltale.admin.stage_times import stage_times
from telltale.core.past_attempts import last_line
from telltale.models import TaskState
from telltale.pages.catalogue import number
from telltale.pages.guards import without_transaction
from telltale.pages.task_text import label_of
from telltale.templatetags.telltale import task_progress

ERROR_LENGTH: Final = 120
"""The list shows this many characters of an error."""


@admin.register(TaskState)
class TaskStateAdmin(HasOverviews):
    """Tasks with live bars, owner, worker, error and times, the newest first."""

    list_display = ("row", "who", "times")
    list_display_links = None
    list_filter = (
        StateFilter,
        HealthFilter,
        EndedFilter,
        OwnerFilter,
        LabelFilter,
        RunnerFilter,
        QueueFilter,
        NameFilter,
    )
    list_select_related = ("owner",)
    list_per_page = 50
    search_fields = ("label", "name", "key", "=reference", "=runner_id")
    search_help_text = _("Searches all tasks: id, label, name, key, reference, runner's id")
    ordering = ("-created_at",)
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    fieldsets = (
        (None, {"fields": ("summary",)}),
        (_("Story"), {"fields": ("timeline", "progress_text", "stages")}),
        (_("Error"), {"fields": ("error_text", "reference")}),
        (_("Owner"), {"fields": ("owner_text", "session", "key")}),
        (
            _("Call"),
            {"fields": ("name", "arguments", "returned", "runner", "queue", "runner_id", "record", "worker", "group")},
        ),
    )

    class Media:
        """The style sheet."""

        css = {"all": ("telltale/admin.css",)}

    # What is read

    def get_queryset(self, request: HttpRequest) -> Any:
        """End the tasks whose lease expired, as every read does, and return the newest tasks, or all for a search."""
        store.end_expired()
        rows = store.task_rows()
        is_list = request.resolver_match is not None and str(request.resolver_match.url_name).endswith("_changelist")
        if not is_list:
            return rows
        # A traceback may be long: the list shows its last line, which is the exception.
        rows = rows.defer("detail").annotate(detail_end=Right("detail", 2 * ERROR_LENGTH))
        return rows if is_search(request) else newest_tasks(rows, since=chosen_since(request))

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Return the list; its tasks know the request, which columns don't get."""
        changelist = super().get_changelist_instance(request)
        changelist.result_list = list(changelist.result_list)
        for task in changelist.result_list:
            task.admin_request = request
        return changelist

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """Return the task, which knows the request."""
        task = super().get_object(request, object_id, from_field)
        if task is not None:
            task.admin_request = request
        return task

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        """Return the task with this id, or those with the words in their texts."""
        try:
            return queryset.filter(pk=UUID(search_term.strip())), False
        except ValueError:
            return super().get_search_results(request, queryset, search_term)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Show the list, with its counts on top."""
        url = reverse("admin:telltale_taskstate_changelist", current_app=self.admin_site.name)
        found: dict[str, Any] = counts(now=store.now())
        if found["failed"] > COUNTED:
            found["failed"] = f"{COUNTED}+"
        context = {
            "telltale_counts": [
                {"key": "running", "n": found["running"], "text": _("running"), "url": f"{url}?state=running"},
                {"key": "stalled", "n": found["stalled"], "text": _("stalled"), "url": f"{url}?health=stalled"},
                {
                    "key": "failed",
                    "n": found["failed"],
                    "text": _("failed in the last hour"),
                    "url": f"{url}?state=failed&ended=hour",
                },
            ],
            "telltale_listed": number(LISTED),
        }
        return super().changelist_view(request, context | (extra_context or {}))

    without_transaction(changelist_view)  # It marks the function.

    # Permissions

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """Return all fields."""
        return [str(name) for _title, options in self.fieldsets for name in options["fields"]]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Refuse: runners create tasks."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: only the store writes tasks."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: only the store writes tasks."""
        return False

    # Columns and fields

    @admin.display(description=_("task"), ordering="created_at")
    def row(self, task: Any) -> SafeString:
        """Return the live bar, the exception, which is the last line of the traceback, and the buttons."""
        exception = Truncator(last_line(str(task.detail_end))).chars(ERROR_LENGTH)
        # Shown by the style sheet while the task has failed: it may be run again.
        line = format_html('<code class="telltale-exception">{}</code>', exception) if exception else ""
        return format_html("{}{}{}", self._bar(task), self.buttons(task.admin_request, task), line)

    @admin.display(description=_("task"))
    def summary(self, task: Any) -> SafeString:
        """Return the live bar and the buttons."""
        return format_html("{}{}", self._bar(task), self.buttons(task.admin_request, task))

    def _bar(self, task: Any) -> SafeString:
        """Return the bar with its texts and a link to the task's live page."""
        context = task_progress({"request": task.admin_request}, task, link=True, buttons=False, notify="never")
        return SafeString(render_to_string("telltale/task_progress.html", context))

    @admin.display(description=_("owner and worker"))
    def who(self, task: Any) -> SafeString:
        """Return the owner, the runner and the worker."""
        owner = story.owner_link(task.admin_request, self.admin_site, task)
        place = " ".join(filter(None, (task.runner, task.queue, task.worker)))
        return format_html('<div>{}</div><div class="quiet">{}</div>', owner, place)

    @admin.display(description=_("times"), ordering="ended_at")
    def times(self, task: TaskState) -> SafeString:
        """Return when the task was queued, began and ended, its attempt, and a link to its story."""
        url = reverse("admin:telltale_taskstate_change", args=[task.pk], current_app=self.admin_site.name)
        return format_html(
            '<dl class="telltale-times"><dt>{}</dt><dd>{}</dd><dt>{}</dt><dd>{}</dd><dt>{}</dt><dd>{}</dd></dl>'
            '<a href="{}">{}<span class="visually-hidden">: {}</span></a>',
            *(_("queued"), story.time_text(task.created_at)),
            *(_("started"), story.time_text(task.started_at)),
            *(_("ended"), story.time_text(task.ended_at)),
            url,
            _("Attempt %(n)s, details") % {"n": task.attempt},
            label_of(task),
        )

    @admin.display(description=_("what happened"))
    def timeline(self, task: TaskState) -> SafeString:
        """Return the attempts, the times and the messages to the owner."""
        return story.timeline(task)

    @admin.display(description=_("progress"))
    def progress_text(self, task: TaskState) -> str:
        """Return the stage, the message and the count."""
        return story.progress(task)

    @admin.display(description=_("stage times"))
    def stages(self, task: TaskState) -> str:
        """Return how long each stage of the last attempt has taken."""
        return stage_times(task) or story.DASH

    @admin.display(description=_("error"))
    def error_text(self, task: TaskState) -> str:
        """Return the error and its traceback."""
        return story.error(task)

    @admin.display(description=_("arguments"))
    def arguments(self, task: TaskState) -> str:
        """Return the stored arguments, redacted."""
        return story.arguments(task)

    @admin.display(description=_("return value"))
    def returned(self, task: TaskState) -> str:
        """Return the return value as JSON, if the task keeps it."""
        return story.preformatted(task.return_json or "") or story.DASH

    @admin.display(description=_("owner"))
    def owner_text(self, task: Any) -> str:
        """Return the owner, with a link."""
        return story.owner_link(task.admin_request, self.admin_site, task)

    @admin.display(description=_("runner's record"))
    def record(self, task: Any) -> str:
        """Return a link to the runner's own record."""
        return story.record_link(task.admin_request, self.admin_site, task)

    @admin.display(description=_("group"))
    def group(self, task: TaskState) -> str:
        """Return a link to the group of a member, or to the members of a group."""
        if task.group_id is not None:
            url = reverse("admin:telltale_taskstate_change", args=[task.group_id], current_app=self.admin_site.name)
            return format_html('<a href="{}">{}</a>', url, _("The group of this task"))
        if "steps" in task.call:
            url = reverse("admin:telltale_taskstate_changelist", current_app=self.admin_site.name)
            return format_html('<a href="{}?{}={}">{}</a>', url, GROUP, task.pk, _("The members of this group"))
        return story.DASH
