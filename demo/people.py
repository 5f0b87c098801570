"""The two users of the demo. Visitors sign in as one of them by a click, or stay anonymous."""

from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model, login, logout
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

NAMES = {"ada": "Ada", "grace": "Grace"}


def create_users() -> None:
    """Create both users if they do not exist, without passwords."""
    for username, name in NAMES.items():
        user, is_new = get_user_model().objects.get_or_create(username=username, defaults={"first_name": name})
        if is_new:
            user.set_unusable_password()
            user.save()


def context(request: HttpRequest) -> dict[str, Any]:
    """Context processor for the header and footer: the users to sign in as, and whether there is a worker to kill."""
    return {"people": NAMES, "may_kill": settings.WORKER_PID.exists()}


@require_POST
def sign_in(request: HttpRequest) -> HttpResponse:
    """Sign in as the user `name`, or sign out if `name` is empty."""
    name = request.POST.get("name", "")
    logout(request)
    if name in NAMES:
        login(request, get_user_model().objects.get(username=name), "django.contrib.auth.backends.ModelBackend")
    return redirect("home")
