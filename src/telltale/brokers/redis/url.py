"""What a Redis broker's URL says. It is read here and nowhere else; nothing is opened, and no package is needed.

Called by `redis.build`. Whatever is wrong raises `ImproperlyConfigured`, without the password in its words.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, NamedTuple
from urllib.parse import SplitResult, parse_qsl, unquote

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.crypto import salted_hmac

from telltale import conf
from telltale.brokers.urls import shown

_PREFIX: Final = re.compile(r"[A-Za-z0-9_.:/@+-]{1,64}")


class Kind(Enum):
    """How the server is found; the value is how such a URL looks."""

    DIRECT = "redis://user:password@host:6379/0"
    UNIX = "unix:///run/redis/redis.sock"
    SENTINEL = "redis+sentinel://host:26379,host:26379/mymaster"
    CLUSTER = "redis+cluster://host:6379,host:6379"


class Node(NamedTuple):
    """One server."""

    host: str
    """Or the path of its socket, when `port` is 0."""
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A Redis, or several that belong together, and how to sign in."""

    kind: Kind
    nodes: tuple[Node, ...]
    """The server; or the sentinels; or some servers of the cluster, of which one at least should be there."""
    prefix: str
    """Begins every channel: sites with different ones hear nothing of each other."""
    master: str = ""
    """The name by which sentinels know it."""
    db: int = 0
    """Pub/sub knows no databases; a user may be allowed only some, though."""
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    sentinel_user: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)
    tls: Mapping[str, object] | None = None
    """What redis-py's `SSLConnection` is given besides; None: no TLS."""


SCHEMES: Final = {
    "redis": Kind.DIRECT,
    "rediss": Kind.DIRECT,
    "unix": Kind.UNIX,
    "redis+sentinel": Kind.SENTINEL,
    "rediss+sentinel": Kind.SENTINEL,
    "redis+cluster": Kind.CLUSTER,
    "rediss+cluster": Kind.CLUSTER,
}

_TLS: Final = ("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname")
_OPTIONS: Final = {
    Kind.DIRECT: ("db", "prefix"),
    Kind.UNIX: ("db", "prefix"),
    Kind.SENTINEL: ("db", "prefix", "sentinel_user", "sentinel_password"),
    Kind.CLUSTER: ("prefix",),
}
_PORTS: Final = {Kind.DIRECT: 6379, Kind.SENTINEL: 26379, Kind.CLUSTER: 6379}
_VERIFY: Final = ("none", "optional", "required")
_BOOLEANS: Final = {"true": True, "1": True, "false": False, "0": False}


def parse(url: SplitResult) -> Address:
    """`url` as an address; raises `ImproperlyConfigured`."""
    kind, is_tls = SCHEMES[url.scheme], url.scheme.startswith("rediss")
    options = _options(url, kind, is_tls=is_tls)
    signed_in, _, hosts = url.netloc.rpartition("@")
    user, _, password = signed_in.partition(":")
    path = unquote(url.path)
    return Address(
        kind=kind,
        nodes=(_socket(url, hosts, path),) if kind is Kind.UNIX else _nodes(url, kind, hosts),
        prefix=_prefix(url, options.get("prefix")),
        master=_master(url, path) if kind is Kind.SENTINEL else "",
        db=_db(url, kind, path, options.get("db")),
        user=unquote(user) or None,
        password=unquote(password) or None,
        sentinel_user=options.get("sentinel_user"),
        sentinel_password=options.get("sentinel_password"),
        tls=_tls(url, options) if is_tls else None,
    )


def default_prefix() -> str:
    """Apart for each secret key and database, so a site's tests and its copies on one Redis don't hear each other."""
    alias = conf.settings().database
    name = django_settings.DATABASES.get(alias, {}).get("NAME", "")
    return f"telltale:{salted_hmac('telltale.brokers.redis', str(name), algorithm='sha256').hexdigest()[:12]}:"


def _wrong(url: SplitResult, why: str) -> ImproperlyConfigured:
    example = SCHEMES[url.scheme].value
    if url.scheme.startswith("rediss"):
        example = example.replace("redis", "rediss", 1)
    return ImproperlyConfigured(
        f"TELLTALE['BROKER'] is {shown(url.geturl())!r}: {why} Write {example}, with user and password percent-encoded."
    )


def _options(url: SplitResult, kind: Kind, *, is_tls: bool) -> dict[str, str]:
    known = (*_OPTIONS[kind], *(_TLS if is_tls else ()))
    pairs = parse_qsl(url.query, keep_blank_values=True)
    for name, _value in pairs:
        if name not in known:
            hint = " It is for rediss://." if name in _TLS else ""
            raise _wrong(url, f"the option {name!r} means nothing here; there are {', '.join(known)}.{hint}")
    options = dict(pairs)
    if len(options) < len(pairs):
        raise _wrong(url, "an option is given twice.")
    if url.fragment:
        raise _wrong(url, "there is nothing to say behind a #.")
    return options


def _nodes(url: SplitResult, kind: Kind, hosts: str) -> tuple[Node, ...]:
    given = hosts.split(",") if kind is not Kind.DIRECT else [hosts]
    return tuple(_node(url, each, _PORTS[kind]) for each in given)


def _node(url: SplitResult, given: str, default_port: int) -> Node:
    host, colon, port = given.rpartition(":") if not given.endswith("]") else (given, "", "")
    if not colon:
        host, port = given, str(default_port)
    if not (port.isdecimal() and 0 < int(port) < 65_536):
        raise _wrong(url, "a port is a number from 1 to 65535, behind its host and a colon.")
    if not host or "," in host:
        raise _wrong(url, "it needs a host." if not host else "only sentinels and clusters have several hosts.")
    return Node(unquote(host.strip("[]")), int(port))


def _socket(url: SplitResult, hosts: str, path: str) -> Node:
    if hosts or not path.strip("/"):
        raise _wrong(url, "it needs the absolute path of a socket, behind three slashes.")
    return Node(path, 0)


def _master(url: SplitResult, path: str) -> str:
    if not (name := path.strip("/")):
        raise _wrong(url, "it needs the name by which the sentinels know the master.")
    return name


def _db(url: SplitResult, kind: Kind, path: str, option: str | None) -> int:
    in_path = path.strip("/") if kind in {Kind.DIRECT, Kind.CLUSTER} else ""
    if kind is Kind.CLUSTER and in_path:
        raise _wrong(url, "a cluster has no databases to choose from.")
    given = option or in_path or "0"
    if not given.isdecimal():
        raise _wrong(url, f"the database {given!r} is not a number.")
    return int(given)


def _prefix(url: SplitResult, given: str | None) -> str:
    if given is None:
        return default_prefix()
    if not _PREFIX.fullmatch(given):
        raise _wrong(url, "a prefix is 1 to 64 letters, digits and _ . : / @ + -.")
    return given


def _tls(url: SplitResult, options: Mapping[str, str]) -> Mapping[str, object]:
    found: dict[str, object] = {name: value for name, value in options.items() if name in _TLS}
    if (verify := options.get("ssl_cert_reqs", "required")) not in _VERIFY:
        raise _wrong(url, f"ssl_cert_reqs is {verify!r}, and should be one of {', '.join(_VERIFY)}.")
    check = _BOOLEANS.get(options.get("ssl_check_hostname", "true").lower())
    if check is None:
        raise _wrong(url, "ssl_check_hostname is true or false.")
    return {**found, "ssl_check_hostname": check}
