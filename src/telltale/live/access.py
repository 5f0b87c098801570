"""Access to the live address: its path, and the hosts and origins that may use it.

Only a ticket opens a live connection; no cookie does. Refusing the pages of other sites here is defence in depth.
Used by the ASGI application and by the live server's protocols.
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import Final

from django.conf import settings as django_settings
from django.conf.urls.i18n import is_language_prefix_patterns_used
from django.core.signals import setting_changed
from django.http.request import split_domain_port, validate_host
from django.urls import NoReverseMatch, get_script_prefix, reverse, set_script_prefix
from django.utils import translation
from django.utils.http import is_same_domain

from telltale import conf
from telltale.core.origins import ANY, is_allowed
from telltale.transports.http import LiveRequest

LOCAL_HOSTS: Final = [".localhost", "127.0.0.1", "[::1]"]
"""Hosts that are allowed under DEBUG while ALLOWED_HOSTS is empty, as in Django."""


_ORIGIN: Final = re.compile(r"[a-z][a-z0-9+.-]*://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
"""As browsers write it: a host without a user, in ASCII, and a port if it is not the scheme's."""


def live_path() -> str | None:
    """Return the path of the live address within this application; None if Telltale's URLs are not included.

    Where the paths of the site depend on the language, this is the one of the present language.
    """
    prefix = get_script_prefix()
    set_script_prefix("/")
    try:
        return reverse("telltale:live")
    except NoReverseMatch:
        return None
    finally:
        set_script_prefix(prefix)


@cache
def live_paths() -> frozenset[str]:
    """Return the paths of the live address in all languages of the site: several inside `i18n_patterns`.

    Cached, also where there are none: every request asks.
    """
    return frozenset(path for path in _reversed_paths() if path is not None)


def _reversed_paths() -> Iterator[str | None]:
    prefixed, _ = is_language_prefix_patterns_used(django_settings.ROOT_URLCONF)
    if not prefixed:
        yield live_path()
        return
    for code, _name in django_settings.LANGUAGES:
        with translation.override(code):
            yield live_path()


def is_live(path: str, root_path: str = "") -> bool:
    """Whether `path` is the live address; some servers put `root_path` before it, others do not."""
    root = (django_settings.FORCE_SCRIPT_NAME or root_path or "").rstrip("/")
    inner_path = path.removeprefix(root) if path.startswith(f"{root}/") else path
    return inner_path in live_paths()


def is_known_host(request: LiveRequest) -> bool:
    """Whether ALLOWED_HOSTS allows the host of the request."""
    allowed = django_settings.ALLOWED_HOSTS
    if django_settings.DEBUG and not allowed:
        allowed = LOCAL_HOSTS
    domain, _port = split_domain_port(_host(request))
    return bool(domain) and validate_host(domain, allowed)


def is_trusted_origin(request: LiveRequest, *, is_any_enough: bool = True) -> bool:
    """Whether the request comes from this site's pages, from an origin that the settings allow, or from no page.

    `is_any_enough`: also if all origins are allowed (`*`).
    """
    origin = request.origin.lower()
    allowed = [entry for entry in conf.settings().allowed_origins if is_any_enough or entry != ANY]
    if not origin or is_allowed(origin, allowed):
        return True
    if _ORIGIN.fullmatch(origin) is None:
        return False  # Such as "null": a page that hides its origin.
    scheme, _, host = origin.partition("://")
    if scheme in {"http", "https"} and _without_default_port(host) == _without_default_port(_host(request)):
        # Anyone on the network can forge a page of plain HTTP; so it is no page of a site that uses TLS.
        return scheme != "http" or not _is_secure(request)
    for trusted in django_settings.CSRF_TRUSTED_ORIGINS:
        trusted_scheme, _, trusted_host = trusted.lower().partition("://")
        if trusted_scheme == scheme and is_same_domain(host, trusted_host.replace("*.", ".", 1)):
            return True
    return False


def _is_secure(request: LiveRequest) -> bool:
    """Whether the browser is known to use TLS for this request, or for all of this site."""
    header, value = django_settings.SECURE_PROXY_SSL_HEADER or ("", "")
    is_forwarded = header == "HTTP_X_FORWARDED_PROTO" and request.forwarded_proto.partition(",")[0].strip() == value
    return request.is_secure or is_forwarded or django_settings.SECURE_SSL_REDIRECT


def _host(request: LiveRequest) -> str:
    forwarded = request.forwarded_host if django_settings.USE_X_FORWARDED_HOST else ""
    return (forwarded or request.host).lower()


def _without_default_port(host: str) -> str:
    # Behind a proxy that ends TLS, the site's own scheme is unknown, so both default ports are removed.
    return host.removesuffix(":443").removesuffix(":80")


def _clear_live_paths(*, setting: str, **_: object) -> None:
    if setting in {"ROOT_URLCONF", "LANGUAGES"}:
        live_paths.cache_clear()


setting_changed.connect(_clear_live_paths, dispatch_uid="telltale.live_paths")
