"""The apps as one server follows them: what waits until they are known, and what a change means for its clients."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

from telltale.pusher.app_registry import registry
from telltale.pusher.protocol.close_codes import APP_DISABLED, UNKNOWN_APP
from telltale.pusher.pusher_apps import PusherApp
from telltale.pusher.server.clients.client import PusherClient
from telltale.pusher.server.membership.changes import Change

READ_AGAIN_S: Final = 1.0
"""How often it is checked whether the apps can be read at last."""


class AppsHost(Protocol):
    """What is done with apps and changes, on the event loop."""

    def clients_of(self, app_id: str) -> Iterable[PusherClient]:
        """Return the app's clients."""

    def announce(self, app: PusherApp, changes: Sequence[Change]) -> None:
        """Tell clients and hooks of changes of the site's view."""


class KnownApps:
    """Lives on one event loop."""

    def __init__(self, host: AppsHost) -> None:
        self._host = host
        self._loop = asyncio.get_running_loop()
        self._early_changes: list[Change] = []
        """Came before the apps were known."""
        # At once: this process may lead the site, and send its webhooks, without having a client.
        self._reading = asyncio.ensure_future(self._read())
        self._end_subscription: Callable[[], None] = registry().subscribe(self._changed)

    def announce(self, changes: Iterable[Change]) -> None:
        """Announce changes of any apps, now or once the apps are known."""
        if not registry().are_known:
            self._early_changes += changes
            return
        by_app: dict[str, list[Change]] = {}
        for change in changes:
            by_app.setdefault(change.app_id, []).append(change)
        for app_id, changes_of_app in by_app.items():
            app = registry().find_by_id(app_id)
            if app is not None:
                self._host.announce(app, changes_of_app)

    def close(self) -> None:
        """Follow the apps no longer."""
        self._reading.cancel()
        self._end_subscription()

    async def _read(self) -> None:
        are_known = await registry().wait()
        while not are_known:
            await asyncio.sleep(READ_AGAIN_S)
            are_known = await registry().wait()
        changes, self._early_changes = self._early_changes, []
        self.announce(changes)

    def _changed(self, app: PusherApp, changed: PusherApp | None) -> None:
        """Called in the registry's thread; `changed`: what the app is now, None if it was removed."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._change, app.id, changed)

    def _change(self, app_id: str, changed: PusherApp | None) -> None:
        """Use a changed app's new secret and limits for its clients too; close those of a disabled one."""
        for client in list(self._host.clients_of(app_id)):
            if changed is None:
                client.close(UNKNOWN_APP)
            elif not changed.is_enabled:
                client.close(APP_DISABLED)
            else:
                client.app = changed
