"""The apps of this process, from `TELLTALE["PUSHER_APPS"]`: a list of dicts, or the dotted path of a function.

A function, such as `telltale.pusher.models.apps`, is called in a thread, at the first use and every `REFRESH_S` from
then on. So apps may be kept anywhere, and a lookup on an event loop is an access to a dict. New apps, changed secrets
and disabled apps take effect for new connections and requests within that time. While the function fails, the
apps that it returned last stay valid.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, Final

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.db import close_old_connections
from django.utils.module_loading import import_string

from telltale import conf, native
from telltale.core.outage import Outage
from telltale.pusher.app_settings import ReadApps, read_apps
from telltale.pusher.pusher_apps import PusherApp

logger = logging.getLogger(__name__)

REFRESH_S: Final = 3.0
"""A change of an app takes effect within this time, plus the time that the function needs."""

FIRST_READING_S: Final = 10.0
"""The first connections wait this long for the function."""

SETTING: Final = "TELLTALE['PUSHER_APPS']"

Source = Callable[[], Iterable[PusherApp | Mapping[str, Any]]]
"""Returns all apps, as values or as dicts of settings; may block, and may use the database."""

Listener = Callable[[PusherApp, PusherApp | None], None]
"""Is called with an app that changed, and with what it is now: None if it was removed."""


class AppRegistry:
    """Apps by key and by id. `source`: a function that is called again and again; None: the apps never change."""

    def __init__(self, apps: Iterable[PusherApp] = (), *, source: Source | None = None) -> None:
        self._by_id: dict[str, PusherApp] = {}
        self._by_key: dict[str, PusherApp] = {}
        self._source = source
        self._listeners: list[Listener] = []
        self._first_reading, self._stopped = native.OneShotEvent(), native.OneShotEvent()
        self._thread = native.LazyThread(self._run, "telltale-pusher-apps")
        self._outage = Outage(logger, f"Reading the apps by {SETTING}", "The apps that were read last stay valid.")
        self._problems: set[str] = set()
        """Texts that were logged already."""
        self.are_known = source is None
        """Whether the apps have been read."""
        self._replace(tuple(apps))

    def find_by_key(self, key: str) -> PusherApp | None:
        """Return the app with this key, also a disabled one."""
        return self._by_key.get(key)

    def find_by_id(self, app_id: str) -> PusherApp | None:
        """Return the app with this id, also a disabled one."""
        return self._by_id.get(app_id)

    def apps(self) -> list[PusherApp]:
        """Return all apps."""
        return list(self._by_id.values())

    def load(self) -> bool:
        """Wait for the first reading; return whether the apps are known. Blocks, so don't call it on an event loop."""
        if not self.are_known and self._thread.start():
            self._first_reading.wait(FIRST_READING_S)
        return self.are_known

    async def wait(self) -> bool:
        """As `load`, for event loops."""
        if not self.are_known and self._thread.start() and not self._first_reading.is_set():
            await asyncio.to_thread(self._first_reading.wait, FIRST_READING_S)
        return self.are_known

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call the listener, in the registry's thread, for each app that changes; return a function that ends this."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def close(self) -> None:
        """Stop the thread; the apps stay as they are."""
        self._stopped.set()

    def refresh(self) -> None:
        """Call the function once; the thread does this."""
        assert self._source is not None  # noqa: S101 (only then there is a thread)
        try:
            close_old_connections()
            read = read_apps(self._source(), f"{SETTING}()")
        except Exception as error:  # The site's own function, or its database, may raise anything.
            self._outage.begin(error, now=time.monotonic())
        else:
            self._outage.end(now=time.monotonic())
            self._log_problems(read)
            self._replace(tuple(read.apps))
            self.are_known = True
        finally:
            self._first_reading.set()
            with suppress(Exception):  # A driver may raise anything, and the thread goes on.
                close_old_connections()

    def _run(self) -> None:
        while not self._stopped.is_set():
            self.refresh()
            self._stopped.wait(REFRESH_S)

    def _replace(self, apps: Iterable[PusherApp]) -> None:
        before = self._by_id
        # Each dict is replaced as a whole, because other threads read it.
        self._by_key = {app.key: app for app in apps}
        self._by_id = {app.id: app for app in apps}
        for app_id, app in before.items():
            if (now := self._by_id.get(app_id)) != app:
                self._tell(app, now)

    def _tell(self, app: PusherApp, now: PusherApp | None) -> None:
        for listener in list(self._listeners):
            try:
                listener(app, now)
            except Exception:
                logger.exception("A change of the app %s was not handled.", app.id)

    def _log_problems(self, read: ReadApps) -> None:
        """Log each problem once; the app that has it is left out."""
        texts = {f"{problem.text} {problem.hint}" for problem in read.problems}
        for text in sorted(texts - self._problems):
            logger.error("An app is left out: %s", text)
        self._problems = texts


# This process's registry


def build(given: object) -> AppRegistry:
    """Return a registry for a value of the setting; calls no function yet. Raises `ImproperlyConfigured`."""
    if given is None:
        return AppRegistry()
    if isinstance(given, str):
        return AppRegistry(source=_source(given))
    if not isinstance(given, list | tuple):
        raise ImproperlyConfigured(
            f"{SETTING} has the type {type(given).__name__}; it must be a list of dicts, or the dotted path of a "
            "function."
        )
    read = read_apps(given, SETTING)
    if read.problems:
        raise ImproperlyConfigured(f"{read.problems[0].text} {read.problems[0].hint}")
    return AppRegistry(read.apps)


def _source(path: str) -> Source:
    try:
        source = import_string(path)
    except (ImportError, RuntimeError) as error:
        raise ImproperlyConfigured(
            f"{SETTING} is {path!r}: {error}. Use the dotted path of a function that returns the apps."
        ) from error
    if not callable(source):
        raise ImproperlyConfigured(f"{SETTING} is {path!r}, which can't be called: use the path of a function.")
    checked_source: Source = source
    return checked_source


class _ProcessRegistry:
    """Holds this process's registry, and the lock that is held while it is built."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._registry: AppRegistry | None = None
        native.call_after_fork(self)

    def get(self) -> AppRegistry:
        present = self._registry
        if present is not None:
            return present
        with self._lock:
            if self._registry is None:
                self._registry = build(conf.settings().pusher_apps)
            return self._registry

    def reset(self) -> None:
        with self._lock:
            old, self._registry = self._registry, None
        if old is not None:
            old.close()

    def after_fork(self) -> None:
        """Forget the parent's registry, whose thread was not copied."""
        self._lock, self._registry = threading.Lock(), None


_process_registry = _ProcessRegistry()


def registry() -> AppRegistry:
    """This process's apps; a forked child has its own. Raises `ImproperlyConfigured` for a wrong setting."""
    return _process_registry.get()


def find_by_key(key: str) -> PusherApp | None:
    """Return this process's app with this key; None before the first `load` or `wait`."""
    return registry().find_by_key(key)


def find_by_id(app_id: str) -> PusherApp | None:
    """Return this process's app with this id; None before the first `load` or `wait`."""
    return registry().find_by_id(app_id)


def _setting_changed(*, setting: str, **_: object) -> None:
    if setting == "TELLTALE":
        _process_registry.reset()


setting_changed.connect(_setting_changed, dispatch_uid="telltale.pusher.app_registry")
