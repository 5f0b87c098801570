"""The addresses of the demo, those of a site that uses a Pusher service, and a page that shows a task to all."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template import Context
from django.urls import include, path

from demo import urls
from telltale.models import TaskState
from telltale.templatetags.telltale import telltale as telltale_tag


def can_follow(_request: HttpRequest, topic: str) -> bool:
    """The site's hook: a project is for all, and so is every task while the site shares them."""
    return topic == "project:7" or (topic.startswith("task:") and settings.SHARED.exists())


def shared(request: HttpRequest) -> HttpResponse:
    """A page with the tasks of the query, which may be other visitors'."""
    tasks = list(TaskState.objects.filter(pk__in=request.GET.getlist("task")))
    return render(request, "shared.html", {"tasks": tasks, "tag": page_tag(request, tasks)})


def page_tag(request: HttpRequest, tasks: list[TaskState]) -> str:
    """What `{% telltale task … %}` writes, for a number of tasks that the template does not know."""
    return telltale_tag(Context({"request": request, "csp_nonce": getattr(request, "csp_nonce", None)}), *tasks)


urlpatterns = [
    *urls.urlpatterns,
    path("pusher/", include("telltale.pusher.urls")),
    path("shared/", shared),
]
