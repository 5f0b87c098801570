"""The example's only page: start an import, and compare the states that Telltale and Celery keep of it."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import include, path
from django_celery_results.models import TaskResult
from tasks import import_contacts

from telltale.models import TaskState
from telltale.owners import Owner


def home(request: HttpRequest) -> HttpResponse:
    """Show the visitor's imports, newest first; a POST starts one."""
    if request.method == "POST":
        import_contacts.delay(rows=200, pause_s=0.05)
        return redirect("home")
    visitor = Owner.of(request, create_session=True)
    states = TaskState.objects.filter(owner=visitor.user_id, session=visitor.session).order_by("-created_at")[:20]
    results = TaskResult.objects.in_bulk([state.runner_id for state in states], field_name="task_id")
    pairs = [(state, results.get(state.runner_id)) for state in states]
    return render(request, "home.html", {"pairs": pairs})


urlpatterns = [
    path("", home, name="home"),
    path("telltale/", include("telltale.urls")),
]
