"""A read-only list of tasks in the admin. Only `store/` writes tasks, so the admin can't change them."""

from datetime import UTC, datetime
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from telltale import conf, store
from telltale.core.health import health
from telltale.core.states import Health
from telltale.models import TaskState


@admin.register(TaskState)
class TaskStateAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Tasks with state, label, progress, owner and times, the newest first."""

    list_display = ("status", "label", "bar", "owner", "attempt", "queued", "started", "ended")
    list_display_links = ("status", "label")
    list_filter = ("state", "runner", "name")
    list_select_related = ("owner",)
    search_fields = ("=id", "label", "name", "reference", "runner_id")
    ordering = ("-created_at",)
    show_full_result_count = False

    def get_queryset(self, request: HttpRequest) -> Any:
        """End the tasks whose lease expired, as every read does, and return all tasks."""
        store.end_expired()
        return store.task_rows()

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
