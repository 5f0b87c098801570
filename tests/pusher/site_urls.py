"""The addresses of a site that uses a Pusher service."""

from typing import Any

from django.contrib.auth import get_user_model
from django.http import HttpRequest
from django.urls import include, path

urlpatterns = [
    path("telltale/", include("telltale.urls")),
    path("pusher/", include("telltale.pusher.urls")),
]


def user_info(request: HttpRequest) -> dict[str, object]:
    """A hook of a site: the data that members learn about a user."""
    return {"name": request.user.get_username().title(), "colour": "blue"}


def long_user_info(request: object) -> dict[str, object]:
    """A hook that returns more than members may learn."""
    return {"about": "é" * 1_000}


def watchlist(request: object) -> list[object]:
    """A hook of a site: the users whose presence a user learns."""
    return [8, "9", *range(100, 300)]


def can_follow(request: object, topic: str) -> bool:
    """A hook of a site: some topics are for all."""
    return topic in {"project:7", "room:7", "letter:7", "task:00000000-0000-4000-8000-000000000001"}


def can_follow_tasks(request: object, topic: str) -> bool:
    """A hook of a site: every task is for all."""
    return topic.startswith("task:")


def bearer_user(request: HttpRequest) -> Any:
    """A site's own authentication: the token is the user's name."""
    scheme, _, name = request.headers.get("Authorization", "").partition(" ")
    return get_user_model().objects.filter(username=name).first() if scheme == "Bearer" else None
