"""The broker of this process: `TELLTALE["BROKER"]`, read once, and the re-read interval that depends on it.

Knows the schemes; each broker's own module knows the rest. The reporter, `messages.py` and the web processes'
broker feed call `broker()`; the system checks call `build()`, which opens nothing.
"""

import atexit
import threading
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from telltale import conf
from telltale.brokers.base import Broker, ChannelBroker, Reach
from telltale.brokers.signing import signed
from telltale.brokers.urls import redact
from telltale.native import call_after_fork

SCHEMES: Final = {
    "channels": "telltale.channels.broker.broker.build",
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
    "pusher": "telltale.pusher.publisher.broker.build",
}
"""Scheme → dotted path of a function `(url: SplitResult) -> Broker`, which is imported when needed."""

PRIVATE_SCHEMES: Final = {"local", "memory", "none"}
"""Schemes of brokers that only processes of the site's own user reach: those can read the key, and so sign too."""

SIGNED_SCHEMES: Final = SCHEMES.keys() - PRIVATE_SCHEMES - {"pusher"}
"""Schemes of services that other programs may share, so messages are signed unless `SIGN_MESSAGES` says otherwise.

`local://` is closed to other users by the directory's mode. `pusher://` signs the messages of its second broker.
"""

RECHECK_S: Final = {Reach.NOWHERE: 2.0, Reach.PROCESS: 2.0, Reach.MACHINE: 2.0, Reach.SITE: 15.0}
"""Seconds between two re-reads of followed tasks: short where messages can't reach every process."""


class _ProcessBroker:
    """Holds this process's broker, and the lock that is held while it is built."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._broker: Broker | None = None
        call_after_fork(self)

    def get(self) -> Broker:
        present = self._broker
        if present is not None:
            return present
        with self._lock:
            if self._broker is None:
                self._broker = build_signed(conf.settings().broker)
            return self._broker

    def close(self) -> None:
        with self._lock:
            old, self._broker = self._broker, None
        if old is not None:
            old.close()

    def after_fork(self) -> None:
        """Forget the parent's broker and lock; each broker closes its inherited sockets by itself."""
        self._lock, self._broker = threading.Lock(), None


_process_broker = _ProcessBroker()


def broker() -> Broker:
    """This process's broker, built on the first call; a forked child builds its own.

    Raises `ImproperlyConfigured` if the setting names no broker.
    """
    return _process_broker.get()


def channels(topics: Iterable[str]) -> Mapping[str, str] | None:
    """Each topic by the channel on which browsers receive it from a service.

    None if the broker has no channels, or one of the topics has none.
    """
    present = broker()
    return present.channels(topics) if isinstance(present, ChannelBroker) else None


def build_signed(url: str) -> Broker:
    """As `build`, but its messages are signed if the setting `SIGN_MESSAGES` says so."""
    new_broker, signs = build(url), conf.settings().sign_messages
    scheme = url.partition("://")[0]
    if signs is None:
        signs = scheme in SIGNED_SCHEMES
    # A Pusher service's messages are for browsers, which know no key.
    return signed(new_broker, accept_unsigned=signs == "accept") if signs and scheme != "pusher" else new_broker


def is_private() -> bool:
    """Whether only processes of the site's own user reach the broker, so that its unsigned messages are genuine."""
    return conf.settings().broker.partition("://")[0] in PRIVATE_SCHEMES


def build(url: str) -> Broker:
    """A new broker for `url`; opens no socket and starts no thread. Raises `ImproperlyConfigured`."""
    scheme, separator, _ = url.partition("://")
    if not separator:
        return _build_by_path(url)
    if scheme not in SCHEMES:
        raise ImproperlyConfigured(
            f"TELLTALE['BROKER'] is {redact(url)!r}: no broker has the scheme {scheme!r}. "
            f"Use one of {_known_schemes()}, or the dotted path of a broker class."
        )
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise ImproperlyConfigured(
            f"TELLTALE['BROKER'] is {redact(url)!r}: {error}. Percent-encode user and password."
        ) from error
    new_broker: Broker = import_string(SCHEMES[scheme])(parts)
    return new_broker


def _build_by_path(url: str) -> Broker:
    """For `package.module.Broker?size=3`, call `Broker(size="3")`."""
    path, _, query = url.partition("?")
    try:
        new_broker: Broker = import_string(path)(**dict(parse_qsl(query, keep_blank_values=True)))
    except (ImportError, TypeError) as error:
        raise ImproperlyConfigured(
            f"TELLTALE['BROKER'] is {redact(url)!r}: {error}. Use one of {_known_schemes()}, or the dotted path of a "
            "broker class, with its arguments after a question mark."
        ) from error
    return new_broker


def _known_schemes() -> str:
    return ", ".join(f"{scheme}://" for scheme in sorted(SCHEMES))


def recheck_s(reach: Reach) -> float:
    """Seconds between two re-reads in a web process: the setting `RECHECK_S`, or the default for this reach."""
    configured = conf.settings().recheck_s
    return RECHECK_S[reach] if configured is None else configured


def reset() -> None:
    """Close this process's broker; the next `broker()` builds another. For tests and changed settings."""
    _process_broker.close()


def _setting_changed(*, setting: str, **_: object) -> None:
    if setting == "TELLTALE":
        reset()


setting_changed.connect(_setting_changed, dispatch_uid="telltale.brokers")
atexit.register(reset)
