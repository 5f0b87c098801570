"""Which broker this process has: `TELLTALE["BROKER"]` read once, and the pace of re-reading that follows from it.

Knows the schemes; each broker's own file knows the rest. The reporter, the messages and the web processes'
driver ask `broker()`; the system checks ask `build()`, which opens nothing.
"""

import atexit
import os
import threading
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from telltale import conf
from telltale.brokers.base import Broker, Reach
from telltale.brokers.urls import shown

SCHEMES: Final = {
    "local": "telltale.brokers.local.broker.build",
    "memory": "telltale.brokers.memory.build",
    "none": "telltale.brokers.none.build",
    "redis": "telltale.brokers.redis.broker.build",
    "redis+cluster": "telltale.brokers.redis.broker.build",
    "redis+sentinel": "telltale.brokers.redis.broker.build",
    "rediss": "telltale.brokers.redis.broker.build",
    "rediss+cluster": "telltale.brokers.redis.broker.build",
    "rediss+sentinel": "telltale.brokers.redis.broker.build",
    "unix": "telltale.brokers.redis.broker.build",
    "postgres": "telltale.brokers.postgres.broker.build",
    "postgresql": "telltale.brokers.postgres.broker.build",
}
"""Scheme → dotted path of `(url: SplitResult) -> Broker`; imported when asked for."""

RECHECK_S: Final = {Reach.NOWHERE: 2.0, Reach.PROCESS: 2.0, Reach.MACHINE: 2.0, Reach.SITE: 15.0}
"""Seconds between two re-reads of what is watched: frequent where a broker cannot have told everything."""

_lock = threading.Lock()
_broker: Broker | None = None


def broker() -> Broker:
    """This process's broker, built when first asked for; a forked child builds its own.

    Raises `ImproperlyConfigured` if the settings name none.
    """
    global _broker
    present = _broker
    if present is not None:
        return present
    with _lock:
        if _broker is None:
            _broker = build(conf.settings().broker)
        return _broker


def build(url: str) -> Broker:
    """A new broker as `url` says; opens no socket and starts no thread. Raises `ImproperlyConfigured`."""
    scheme, separator, _ = url.partition("://")
    if not separator:
        return _build_by_path(url)
    if scheme not in SCHEMES:
        raise ImproperlyConfigured(
            f"TELLTALE['BROKER'] is {shown(url)!r}: no broker answers to {scheme!r}. "
            f"Use one of {', '.join(f'{known}://' for known in sorted(SCHEMES))}, or the dotted path of a broker class."
        )
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise ImproperlyConfigured(
            f"TELLTALE['BROKER'] is {shown(url)!r}: {error}. Percent-encode user and password."
        ) from error
    made: Broker = import_string(SCHEMES[scheme])(parts)
    return made


def _build_by_path(url: str) -> Broker:
    """`package.module.Broker?size=3` is called as `Broker(size="3")`."""
    path, _, query = url.partition("?")
    try:
        made: Broker = import_string(path)(**dict(parse_qsl(query, keep_blank_values=True)))
    except (ImportError, TypeError) as error:
        raise ImproperlyConfigured(
            f"TELLTALE['BROKER'] is {url!r}: {error}. Use one of "
            f"{', '.join(f'{known}://' for known in sorted(SCHEMES))}, or the dotted path of a broker class, "
            "with its arguments behind a question mark."
        ) from error
    return made


def recheck_s(reach: Reach) -> float:
    """How often a web process re-reads what it watches: the setting, or what the broker's `reach` asks."""
    asked = conf.settings().recheck_s
    return RECHECK_S[reach] if asked is None else asked


def reset() -> None:
    """Close this process's broker; the next `broker()` builds another. For tests and changed settings."""
    global _broker
    with _lock:
        old, _broker = _broker, None
    if old is not None:
        old.close()


def _after_fork() -> None:
    """The parent's broker and its lock are the parent's; each broker lets go of what it inherited by itself."""
    global _broker, _lock
    _broker, _lock = None, threading.Lock()


def _setting_changed(*, setting: str, **_: object) -> None:
    if setting == "TELLTALE":
        reset()


setting_changed.connect(_setting_changed, dispatch_uid="telltale.brokers")
atexit.register(reset)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
