"""The pages around both versions: the first page, signing in by a click, and a button that kills the workers."""

import os
import signal
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model, login, logout
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

NAMES = {"ada": "Ada", "grace": "Grace"}


def context(request: HttpRequest) -> dict[str, Any]:
    """Context processor of all pages: the users to sign in as."""
    return {"people": NAMES}


def home(request: HttpRequest) -> HttpResponse:
    """Show the choice between both versions."""
    return render(request, "project/home.html")


@require_POST
def sign_in(request: HttpRequest) -> HttpResponse:
    """Sign in as the user `name`, or sign out if `name` is empty."""
    name = request.POST.get("name", "")
    logout(request)
    if name in NAMES:
        user, _ = get_user_model().objects.get_or_create(username=name, defaults={"first_name": NAMES[name]})
        login(request, user, "django.contrib.auth.backends.ModelBackend")
    return redirect("home")


@require_POST
def kill_workers(request: HttpRequest) -> HttpResponse:
    """Kill both workers with SIGKILL. `run.py` starts others a second later."""
    for path in settings.DIR.glob("*.pid"):
        os.kill(int(path.read_text()), signal.SIGKILL)
    return HttpResponse(status=204)
