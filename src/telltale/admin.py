"""A read-only list of tasks in the admin. Only `store/` writes tasks, so the admin can't change them."""

from datetime import UTC, datetime
from typing import Any, Final

from django.contrib import admin
from django.contrib.admin.views.main import ERROR_FLAG, ORDER_VAR, PAGE_VAR
from django.db.models import Q
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from telltale import conf, store
from telltale.core.health import health
from telltale.core.states import Health
from telltale.models import TaskState

LISTED: Final = 10_000
"""Without a search or a filter, the list shows the open tasks and this many that ended last: more would take long."""

FILTERED: Final = 1_000
"""The filters offer the names and runners of this many of the newest tasks."""


class _NewestValues(admin.SimpleListFilter):
    """Filters by a column, with the values among the newest tasks: reading them all would read the whole table."""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the values."""
        newest = store.task_rows().order_by("-ended_at").values_list(str(self.parameter_name), flat=True)
        return [(value, value) for value in sorted(set(newest[:FILTERED]))]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Return the tasks with the chosen value."""
        return queryset.filter(**{str(self.parameter_name): self.value()}) if self.value() else queryset


class RunnerFilter(_NewestValues):
    """Filters by runner."""

    title, parameter_name = _("runner"), "runner"


class NameFilter(_NewestValues):
    """Filters by name."""

    title, parameter_name = _("name"), "name"


@admin.register(TaskState)
class TaskStateAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Tasks with state, label, progress, owner and times, the newest first."""

    list_display = ("status", "label", "bar", "owner", "attempt", "queued", "started", "ended")
    list_display_links = ("status", "label")
    list_filter = ("state", RunnerFilter, NameFilter)
    list_select_related = ("owner",)
    search_fields = ("=id", "label", "name", "reference", "runner_id")
    ordering = ("-created_at",)
    show_full_result_count = False

    def get_queryset(self, request: HttpRequest) -> Any:
        """End the tasks whose lease expired, as every read does, and return the newest tasks, or all for a search."""
        store.end_expired()
        rows = store.task_rows()
        is_list = request.resolver_match is not None and str(request.resolver_match.url_name).endswith("_changelist")
        if not is_list or not set(request.GET) <= {PAGE_VAR, ORDER_VAR, ERROR_FLAG}:
            return rows
        oldest = rows.exclude(ended_at=None).order_by("-ended_at").values_list("ended_at", flat=True)[LISTED:].first()
        return rows if oldest is None else rows.filter(Q(ended_at=None) | Q(ended_at__gt=oldest))

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """Return all fields."""
        return [field.name for field in TaskState._meta.fields]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Refuse: runners create tasks."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: only the store writes tasks."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: only the store writes tasks."""
        return False

    @admin.display(description=_("state"), ordering="state")
    def status(self, task: TaskState) -> str:
        """Return the state; for a running task that is not well, also its health."""
        task_health = health(task.snapshot, now=store.now(), limits=conf.settings().limits)
        return task.state if task_health in {None, Health.OK} else f"{task.state} ({task_health})"

    @admin.display(description=_("progress"))
    def bar(self, task: TaskState) -> str:
        """Return a progress bar; the task's message, or a dash, while the fraction is unknown."""
        fraction = 1.0 if task.state == "succeeded" else task.snapshot.progress.fraction
        if fraction is None:
            return task.snapshot.progress.message or "–"
        percent = f"{fraction:.0%}"
        return format_html(
            '<progress max="1" value="{}" title="{}">{}</progress> {}', f"{fraction:.3f}", *[percent] * 3
        )

    @admin.display(description=_("queued"), ordering="created_at")
    def queued(self, task: TaskState) -> datetime | None:
        """Return when the task was queued."""
        return _local_time(task.created_at)

    @admin.display(description=_("started"), ordering="started_at")
    def started(self, task: TaskState) -> datetime | None:
        """Return when the current attempt began."""
        return _local_time(task.started_at)

    @admin.display(description=_("ended"), ordering="ended_at")
    def ended(self, task: TaskState) -> datetime | None:
        """Return when the current attempt ended."""
        return _local_time(task.ended_at)


def _local_time(seconds: float | None) -> datetime | None:
    if seconds is None:
        return None
    return timezone.localtime(datetime.fromtimestamp(seconds, UTC))
