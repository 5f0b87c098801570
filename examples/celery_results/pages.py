"""The example's one page: start an import, and see both states of each side by side."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import include, path
from django_celery_results.models import TaskResult
from tasks import import_contacts

from telltale.models import TaskState


def home(request: HttpRequest) -> HttpResponse:
    """The imports of whoever looks, newest first."""
    if request.method == "POST":
        import_contacts.delay(rows=200, pause_s=0.05)
        return redirect("home")
    if not request.session.session_key:
        request.session.save()
    states = list(TaskState.objects.order_by("-created_at")[:20])
    results = TaskResult.objects.in_bulk([state.runner_id for state in states], field_name="task_id")
    pairs = [(state, results.get(state.runner_id)) for state in states]
    return render(request, "home.html", {"pairs": pairs})


urlpatterns = [
    path("", home, name="home"),
    path("telltale/", include("telltale.urls")),
]
