"""What a page needs to listen to the site's Pusher service by pusher-js; the tag `{% telltale %}` puts it there."""

from typing import Any

from django.templatetags.static import static
from django.urls import NoReverseMatch, reverse

from telltale import conf
from telltale.pusher.publisher.site_apps import broker_address


def service() -> dict[str, Any] | None:
    """Return the app's key, the options of pusher-js, the address that signs, and that of the script or None.

    None if the broker is no `pusher://…`, or the site's URLs don't include `telltale.pusher.urls`.
    """
    address = broker_address()
    if address is None:
        return None
    try:
        auth = reverse("telltale_pusher:auth")
    except NoReverseMatch:
        return None
    settings = conf.settings()
    return {
        "key": address.app.key,
        "options": {**address.browser_options(), **settings.pusher_js_options},
        "auth": auth,
        "script": None if settings.pusher_js is None else _script_url(settings.pusher_js),
    }


def _script_url(address: str) -> str:
    return address if "://" in address or address.startswith("/") else static(address)
