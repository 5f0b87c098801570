"""The app for which the site signs and receives webhooks: the broker's, or one of the stand-in server.

A request may name an app by its key. Without a name it is the broker's, if `TELLTALE["BROKER"]` is `pusher://…`, else
the only app in `TELLTALE["PUSHER_APPS"]`.
"""

from urllib.parse import urlsplit

from telltale import conf
from telltale.pusher import app_registry
from telltale.pusher.publisher.address import PusherAddress, parse
from telltale.pusher.pusher_apps import PusherApp


class UnknownApp(ValueError):
    """No app is meant, or several could be; the text says how to name one."""


def broker_address() -> PusherAddress | None:
    """Return the address that `TELLTALE["BROKER"]` gives; None if it is no `pusher://…`."""
    url = conf.settings().broker
    return parse(urlsplit(url)) if url.startswith("pusher://") else None


def site_app(key: str | None) -> PusherApp:
    """Return the app with this key, or the one that is meant without a key; raises `UnknownApp`.

    May block for the first reading of the apps.
    """
    address = broker_address()
    if address is not None and key in (None, address.app.key):
        return address.app
    apps = app_registry.registry()
    apps.load()
    if key is not None:
        return _enabled(apps.find_by_key(key))
    if len(apps.apps()) > 1:
        raise UnknownApp("This site has several Pusher apps: add ?app_key=KEY to this address.")
    return _enabled(next(iter(apps.apps()), None))


def _enabled(app: PusherApp | None) -> PusherApp:
    if app is None or not app.is_enabled:
        raise UnknownApp(
            "This site has no such Pusher app: check the key, TELLTALE['BROKER'] and TELLTALE['PUSHER_APPS']."
        )
    return app
