"""Telltale's views behind each wall that Django and django-allauth have, below `/walled/<wall>/`."""

from collections.abc import Callable
from typing import Any, Final

from allauth.account.decorators import reauthentication_required, secure_admin_login, verified_email_required
from django.contrib.admin.views.decorators import staff_member_required
from django.contrib.auth import mixins
from django.contrib.auth.decorators import login_required, permission_required, user_passes_test
from django.urls import URLPattern, include, path
from django.utils.decorators import method_decorator
from django.views import View

from telltale import urls


def by_mixin(mixin: type, **attributes: Any) -> Callable[[Any], Any]:
    """Return a decorator: the view behind a mixin for class-based views."""

    def wrap(view: Any) -> Any:
        def dispatch(self: View, request: Any, *args: Any, **kwargs: Any) -> Any:
            return view(request, *args, **kwargs)

        inner = type("Inner", (View,), {"dispatch": method_decorator(exempt)(dispatch)})
        return exempt(type("Walled", (mixin, inner), attributes).as_view())

    return wrap


def exempt(view: Any) -> Any:
    view.csrf_exempt = True
    return view


def is_signed_in(request: Any) -> bool:
    return bool(request.user.is_authenticated)


WALLS: Final[dict[str, Callable[[Any], Any]]] = {
    "login_required": login_required,
    "user_passes_test": user_passes_test(lambda user: user.is_authenticated),
    "permission_required": permission_required("auth.add_group"),
    "permission_required_or_403": permission_required("auth.add_group", raise_exception=True),
    "staff_member_required": staff_member_required(login_url="/accounts/login/"),
    "LoginRequiredMixin": by_mixin(mixins.LoginRequiredMixin),
    "LoginRequiredMixin_or_403": by_mixin(mixins.LoginRequiredMixin, raise_exception=True),
    "PermissionRequiredMixin": by_mixin(mixins.PermissionRequiredMixin, permission_required="auth.add_group"),
    "UserPassesTestMixin": by_mixin(mixins.UserPassesTestMixin, test_func=lambda self: is_signed_in(self.request)),
    "allauth verified_email_required": verified_email_required,
    "allauth secure_admin_login": secure_admin_login,
    "allauth reauthentication_required": reauthentication_required,
}


def behind(wall: Callable[[Any], Any]) -> list[URLPattern]:
    """Return Telltale's URLs with each view behind this wall."""
    return [
        path(str(pattern.pattern), exempt(wall(pattern.callback)), name=pattern.name) for pattern in urls.urlpatterns
    ]


urlpatterns = [
    path(f"walled/{name}/", include((behind(wall), "telltale"), namespace=f"behind {name}"))
    for name, wall in WALLS.items()
]
