"""The admin's list of tasks, to look at: nothing can be changed here, for only `store/` writes them."""

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
    """State, label, progress, owner, times: newest first."""

    list_display = ("says", "label", "bar", "owner", "attempt", "created", "started", "ended")
    list_display_links = ("says", "label")
    list_filter = ("state", "runner", "name")
    list_select_related = ("owner",)
    search_fields = ("=id", "label", "name", "reference", "runner_id")
    ordering = ("-created_at",)
    show_full_result_count = False

    def get_queryset(self, request: HttpRequest) -> Any:
        """Lapsed ones end first: a read decides, here as everywhere."""
        store.end_lapsed()
        return store.task_rows()

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """All."""
        return [field.name for field in TaskState._meta.fields]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Tasks come from runners."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Only the store writes."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Only the store writes."""
        return False

    @admin.display(description=_("state"), ordering="state")
    def says(self, task: TaskState) -> str:
        """The state, and the health of what runs unless it is well."""
        doing = health(task.snapshot, now=store.now(), limits=conf.settings())
        return task.state if doing in {None, Health.OK} else f"{task.state} ({doing})"

    @admin.display(description=_("progress"))
    def bar(self, task: TaskState) -> str:
        """The share of the whole, where it is known."""
        share = 1.0 if task.state == "succeeded" else task.snapshot.progress.fraction
        if share is None:
            return task.snapshot.progress.message or "–"
        percent = f"{share:.0%}"
        return format_html('<progress max="1" value="{}" title="{}">{}</progress> {}', f"{share:.3f}", *[percent] * 3)

    @admin.display(description=_("asked for"), ordering="created_at")
    def created(self, task: TaskState) -> datetime | None:
        """When it was queued."""
        return _instant(task.created_at)

    @admin.display(description=_("started"), ordering="started_at")
    def started(self, task: TaskState) -> datetime | None:
        """When the present attempt was claimed."""
        return _instant(task.started_at)

    @admin.display(description=_("ended"), ordering="ended_at")
    def ended(self, task: TaskState) -> datetime | None:
        """When the present attempt ended."""
        return _instant(task.ended_at)


def _instant(seconds: float | None) -> datetime | None:
    if seconds is None:
        return None
    instant = datetime.fromtimestamp(seconds, UTC)
    return timezone.localtime(instant)
