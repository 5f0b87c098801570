"""The two people one can be in the demo; whoever is neither stays an anonymous visitor."""

from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model, login, logout
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

NAMES = {"ada": "Ada", "grace": "Grace"}


def make() -> None:
    """Both exist; without passwords, since one signs in by a click."""
    for username, name in NAMES.items():
        user, made = get_user_model().objects.get_or_create(username=username, defaults={"first_name": name})
        if made:
            user.set_unusable_password()
            user.save()


def present(request: HttpRequest) -> dict[str, Any]:
    """Context processor: who one may become, for the page's header."""
    return {"people": NAMES, "may_kill": settings.WORKER_PID.exists()}


@require_POST
def sign_in(request: HttpRequest) -> HttpResponse:
    """Become one of the two, or nobody (`name` empty)."""
    name = request.POST.get("name", "")
    logout(request)
    if name in NAMES:
        login(request, get_user_model().objects.get(username=name), "django.contrib.auth.backends.ModelBackend")
    return redirect("home")
