"""Two pages beside the list of tasks: the workers that are busy, and how long tasks take."""

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from telltale import store
from telltale.admin.acting import ActsOnTasks
from telltale.admin.durations import NAMES, READ, Named, durations
from telltale.admin.filters import PERIODS, chosen_since
from telltale.admin.plot import plot, spark
from telltale.admin.story import DASH, joined, time_text
from telltale.admin.workers import busy_workers
from telltale.pages.catalogue import number
from telltale.pages.durations import duration
from telltale.pages.guards import without_transaction


class HasOverviews(ActsOnTasks):
    """The pages, for staff who may see tasks."""

    def get_urls(self) -> list[URLPattern]:
        """Return the addresses of the pages, before those of the admin."""
        pages = {"workers": self.workers_view, "durations": self.durations_view}
        return [
            path(f"{name}/", without_transaction(self.admin_site.admin_view(view)), name=f"telltale_taskstate_{name}")
            for name, view in pages.items()
        ] + super().get_urls()

    @method_decorator(require_safe)
    def workers_view(self, request: HttpRequest) -> HttpResponse:
        """Show the workers that are busy, and what each runs. Tasks whose lease expired are ended first."""
        self._check(request)
        store.end_expired()
        now = store.now()
        found = busy_workers(now=now)
        rows = [
            {
                "worker": worker,
                "place": joined(
                    worker.process and _("process %(process)s") % {"process": worker.process}, *worker.kinds
                ),
                "since": time_text(worker.busy_since),
                "contact": _("%(time)s ago") % {"time": duration(max(0.0, now - worker.beat_at))},
                "tasks": [
                    (task, joined(task.figure, duration(max(0.0, now - task.started_at)))) for task in worker.listed
                ],
            }
            for worker in found.workers
        ]
        return self._page(request, "workers", _("Busy workers"), {"rows": rows, "found": found})

    @method_decorator(require_safe)
    def durations_view(self, request: HttpRequest) -> HttpResponse:
        """Show how long tasks took, by name, and the chosen name over time: the first without a choice."""
        self._check(request)
        found = durations(since=chosen_since(request))
        listed = found.named[:NAMES]
        by_name = {named.name: named for named in found.named}
        chosen = by_name.get(request.GET.get("name", "")) or (listed[0] if listed else None)
        context = {
            "rows": [self._row(named) for named in listed],
            "chosen": chosen,
            "more": len(found.named) - len(listed),
            "tasks": number(found.tasks),
            "most": number(READ),
            "found": found,
            "since": time_text(found.since),
            "periods": {"": _("All")} | {key: text for key, (text, _seconds) in PERIODS.items()},
            "period": request.GET.get("ended", ""),
            **(self._plot(chosen) if chosen else {}),
        }
        return self._page(request, "durations", _("Durations"), context)

    def _row(self, named: Named) -> dict[str, Any]:
        return {
            "name": named.name,
            "runs": number(named.runs),
            "bad": number(named.bad),
            "median": _duration_text(named.median_s),
            "p95": _duration_text(named.p95_s),
            "spark": spark(named.steps),
        }

    def _plot(self, named: Named) -> dict[str, Any]:
        steps = named.steps
        title = _("Median and 95th percentile over time. The table has the values.")
        values = [
            (time_text(step.from_at), number(step.runs), duration(step.median_s), duration(step.p95_s))
            for step in steps
        ]
        return {"plot": plot(steps, title=f"{named.name}: {title}"), "values": values}

    def _check(self, request: HttpRequest) -> None:
        if not self.has_view_permission(request):
            raise PermissionDenied

    def _page(self, request: HttpRequest, name: str, title: str, context: dict[str, Any]) -> HttpResponse:
        shared = {
            **self.admin_site.each_context(request),
            "title": title,
            "media": self.media,
            "crumbs": format_html("{} › {}", self._crumbs(), title),
            "body_class": "app-telltale telltale-overview",
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, f"admin/telltale/taskstate/{name}.html", {**shared, **context})

    def _crumbs(self) -> SafeString:
        """Return the links above the title, as other pages of the admin show them."""
        links = [
            (self._url("index"), _("Home")),
            (self._url("app_list", app_label=self.opts.app_label), self.opts.app_config.verbose_name),
            (self._url("telltale_taskstate_changelist"), capfirst(str(self.opts.verbose_name_plural))),
        ]
        return format_html_join(" › ", '<a href="{}">{}</a>', links)

    def _url(self, name: str, **kwargs: str) -> str:
        return reverse(f"admin:{name}", kwargs=kwargs or None, current_app=self.admin_site.name)


def _duration_text(seconds: float | None) -> str:
    return DASH if seconds is None else duration(seconds)
