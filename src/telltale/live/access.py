"""The door of the live address: where it is, and for which hosts and pages it opens.

No cookie opens anything behind it, a ticket does; that other sites' pages are turned away already here is defence
in depth. Knows headers and settings. Called by the ASGI entry and by the live server's protocols.
"""

from typing import Final

from django.conf import settings as django_settings
from django.core.signals import setting_changed
from django.http.request import split_domain_port, validate_host
from django.urls import NoReverseMatch, get_script_prefix, reverse, set_script_prefix
from django.utils.http import is_same_domain

from telltale.transports.http import Scope, header

LOCAL_HOSTS: Final = [".localhost", "127.0.0.1", "[::1]"]
"""Who may ask under DEBUG with no ALLOWED_HOSTS; as Django has it."""

_live_path: str | None = None


def live_path() -> str | None:
    """The live address within this application; None where Telltale's URLs are not included."""
    global _live_path
    if _live_path is None:
        prefix = get_script_prefix()
        set_script_prefix("/")
        try:
            _live_path = reverse("telltale:live")
        except NoReverseMatch:
            return None
        finally:
            set_script_prefix(prefix)
    return _live_path


def is_live(path: str, root_path: str = "") -> bool:
    """Whether `path` is the live address; servers put `root_path` before it, or do not."""
    root = (django_settings.FORCE_SCRIPT_NAME or root_path or "").rstrip("/")
    inner = path.removeprefix(root) if path.startswith(f"{root}/") else path
    return inner == live_path()


def is_known_host(scope: Scope) -> bool:
    """Whether the site answers to the host that is asked for."""
    allowed = django_settings.ALLOWED_HOSTS
    if django_settings.DEBUG and not allowed:
        allowed = LOCAL_HOSTS
    domain, _port = split_domain_port(_host(scope))
    return bool(domain) and validate_host(domain, allowed)


def is_trusted_origin(scope: Scope) -> bool:
    """Whether a page of this site asks, or one that CSRF_TRUSTED_ORIGINS names, or a program that is no page."""
    origin = header(scope, b"origin").lower()
    if not origin:
        return True
    scheme, _, place = origin.partition("://")
    if not place:
        return False  # "null": a page that hides where it comes from
    if _without_default_port(place) == _without_default_port(_host(scope)):
        return True
    for trusted in django_settings.CSRF_TRUSTED_ORIGINS:
        its_scheme, _, its_place = trusted.lower().partition("://")
        if its_scheme == scheme and is_same_domain(place, its_place.replace("*.", ".", 1)):
            return True
    return False


def _host(scope: Scope) -> str:
    forwarded = header(scope, b"x-forwarded-host") if django_settings.USE_X_FORWARDED_HOST else ""
    return (forwarded or header(scope, b"host")).lower()


def _without_default_port(place: str) -> str:
    # Which scheme is ours can't be told behind a proxy that ends TLS, so both defaults are none.
    return place.removesuffix(":443").removesuffix(":80")


def _forget(*, setting: str, **_: object) -> None:
    global _live_path
    if setting == "ROOT_URLCONF":
        _live_path = None


setting_changed.connect(_forget, dispatch_uid="telltale.gate")
