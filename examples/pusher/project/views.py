"""The one page, signing in by a click, and the view that starts a report."""

from django.conf import settings
from django.contrib.auth import get_user_model, login, logout
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from project.tasks import build_report

NAMES = {"ada": "Ada", "grace": "Grace"}


def home(request: HttpRequest) -> HttpResponse:
    """Show the page."""
    return render(request, "project/home.html", {"people": NAMES, "key": settings.PUSHER["KEY"]})


@require_POST
def sign_in(request: HttpRequest) -> HttpResponse:
    """Sign in as the user `name`, or sign out if `name` is empty."""
    name = request.POST.get("name", "")
    logout(request)
    if name in NAMES:
        user, _ = get_user_model().objects.get_or_create(username=name, defaults={"first_name": NAMES[name]})
        login(request, user, "django.contrib.auth.backends.ModelBackend")
    return redirect("home")


@login_required
@require_POST
def start_report(request: HttpRequest) -> HttpResponse:
    """Hand the work to the worker and answer at once; the page stays as it is."""
    build_report.enqueue(request.user.pk)
    return HttpResponse(status=202)
