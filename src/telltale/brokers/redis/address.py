"""What a Redis broker's URL says: servers, user, options. Opens nothing, and needs no package of Redis.

Called by `redis.broker.build`. A wrong URL raises `ImproperlyConfigured`, without the password in its text.
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
from telltale.brokers.urls import redact

_PREFIX: Final = re.compile(r"[A-Za-z0-9_.:/@+-]{1,64}")


class Deployment(Enum):
    """How Redis is deployed and found; the value is an example of such a URL."""

    SINGLE_SERVER = "redis://user:password@host:6379/0"
    UNIX_SOCKET = "unix:///run/redis/redis.sock"
    SENTINEL = "redis+sentinel://host:26379,host:26379/mymaster"
    CLUSTER = "redis+cluster://host:6379,host:6379"


class Node(NamedTuple):
    """One server."""

    host: str
    """The path of its socket if `port` is 0."""
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisAddress:
    """The servers to ask first, and how to sign in."""

    deployment: Deployment
    nodes: tuple[Node, ...]
    """The server; or the sentinels; or some servers of the cluster, of which one at least must be up."""
    prefix: str
    """The first part of every channel's name: sites with different prefixes don't receive each other."""
    master: str = ""
    """The master's name at the sentinels."""
    db: int = 0
    """Channels are the same in all databases, but a user may be allowed only some databases."""
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    sentinel_user: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)
    tls: Mapping[str, object] | None = None
    """Options of redis-py's `SSLConnection`; None: no TLS."""


SCHEMES: Final = {
    "redis": Deployment.SINGLE_SERVER,
    "rediss": Deployment.SINGLE_SERVER,
    "unix": Deployment.UNIX_SOCKET,
    "redis+sentinel": Deployment.SENTINEL,
    "rediss+sentinel": Deployment.SENTINEL,
    "redis+cluster": Deployment.CLUSTER,
    "rediss+cluster": Deployment.CLUSTER,
}

_TLS_OPTIONS: Final = (
    "ssl_ca_certs",
    "ssl_ca_path",
    "ssl_certfile",
    "ssl_keyfile",
    "ssl_cert_reqs",
    "ssl_check_hostname",
)
_OPTIONS: Final = {
    Deployment.SINGLE_SERVER: ("db", "prefix"),
    Deployment.UNIX_SOCKET: ("db", "prefix"),
    Deployment.SENTINEL: ("db", "prefix", "sentinel_user", "sentinel_password"),
    Deployment.CLUSTER: ("prefix",),
}
_PORTS: Final = {Deployment.SINGLE_SERVER: 6379, Deployment.SENTINEL: 26379, Deployment.CLUSTER: 6379}
_CERT_REQS: Final = ("none", "optional", "required")
_BOOLEANS: Final = {"true": True, "1": True, "false": False, "0": False}


def parse(url: SplitResult) -> RedisAddress:
    """The address that `url` gives; raises `ImproperlyConfigured`."""
    deployment, is_tls = SCHEMES[url.scheme], url.scheme.startswith("rediss")
    options = _options(url, deployment, is_tls=is_tls)
    credentials, _, hosts = url.netloc.rpartition("@")
    user, _, password = credentials.partition(":")
    path = unquote(url.path)
    is_socket = deployment is Deployment.UNIX_SOCKET
    return RedisAddress(
        deployment=deployment,
        nodes=(_socket(url, hosts, path),) if is_socket else _nodes(url, deployment, hosts),
        prefix=_prefix(url, options.get("prefix")),
        master=_master(url, path) if deployment is Deployment.SENTINEL else "",
        db=_db(url, deployment, path, options.get("db")),
        user=unquote(user) or None,
        password=unquote(password) or None,
        sentinel_user=options.get("sentinel_user"),
        sentinel_password=options.get("sentinel_password"),
        tls=_tls(url, options) if is_tls else None,
    )


def default_prefix() -> str:
    """This site's prefix, which depends on `SECRET_KEY` and the database: a site's tests and copies stay apart."""
    alias = conf.settings().database
    name = django_settings.DATABASES.get(alias, {}).get("NAME", "")
    return f"telltale:{salted_hmac('telltale.brokers.redis', str(name), algorithm='sha256').hexdigest()[:12]}:"


def _error(url: SplitResult, problem: str) -> ImproperlyConfigured:
    example = SCHEMES[url.scheme].value
    if url.scheme.startswith("rediss"):
        example = example.replace("redis", "rediss", 1)
    return ImproperlyConfigured(
        f"TELLTALE['BROKER'] is {redact(url.geturl())!r}: {problem} "
        f"Write {example}, with user and password percent-encoded."
    )


def _options(url: SplitResult, deployment: Deployment, *, is_tls: bool) -> dict[str, str]:
    known = (*_OPTIONS[deployment], *(_TLS_OPTIONS if is_tls else ()))
    pairs = parse_qsl(url.query, keep_blank_values=True)
    for name, _value in pairs:
        if name not in known:
            hint = " It is for rediss://." if name in _TLS_OPTIONS else ""
            raise _error(url, f"the option {name!r} is unknown; there are {', '.join(known)}.{hint}")
    options = dict(pairs)
    if len(options) < len(pairs):
        raise _error(url, "an option is given twice.")
    if url.fragment:
        raise _error(url, "it contains a #, which ends the address: write %23 instead.")
    return options


def _nodes(url: SplitResult, deployment: Deployment, hosts: str) -> tuple[Node, ...]:
    host_list = hosts.split(",") if deployment is not Deployment.SINGLE_SERVER else [hosts]
    return tuple(_node(url, host_and_port, _PORTS[deployment]) for host_and_port in host_list)


def _node(url: SplitResult, host_and_port: str, default_port: int) -> Node:
    is_bare_ipv6 = host_and_port.endswith("]")
    host, colon, port = ("", "", "") if is_bare_ipv6 else host_and_port.rpartition(":")
    if not colon:
        host, port = host_and_port, str(default_port)
    if not (port.isdecimal() and 0 < int(port) < 65_536):
        raise _error(url, "a port is a number from 1 to 65535, after its host and a colon.")
    if not host:
        raise _error(url, "it needs a host.")
    if "," in host:
        raise _error(url, "only sentinels and clusters have several hosts.")
    return Node(unquote(host.strip("[]")), int(port))


def _socket(url: SplitResult, hosts: str, path: str) -> Node:
    if hosts or not path.strip("/"):
        raise _error(url, "it needs the absolute path of a socket, after three slashes.")
    return Node(path, 0)


def _master(url: SplitResult, path: str) -> str:
    if not (name := path.strip("/")):
        raise _error(url, "it needs the name of the master at the sentinels.")
    return name


def _db(url: SplitResult, deployment: Deployment, path: str, option: str | None) -> int:
    takes_path = deployment in {Deployment.SINGLE_SERVER, Deployment.CLUSTER}
    path_db = path.strip("/") if takes_path else ""
    if deployment is Deployment.CLUSTER and path_db:
        raise _error(url, "a cluster has no databases to choose from.")
    db = option or path_db or "0"
    if not db.isdecimal():
        raise _error(url, f"the database {db!r} is not a number.")
    return int(db)


def _prefix(url: SplitResult, prefix: str | None) -> str:
    if prefix is None:
        return default_prefix()
    if not _PREFIX.fullmatch(prefix):
        raise _error(url, "a prefix is 1 to 64 letters, digits and _ . : / @ + -.")
    return prefix


def _tls(url: SplitResult, options: Mapping[str, str]) -> Mapping[str, object]:
    tls: dict[str, object] = {name: value for name, value in options.items() if name in _TLS_OPTIONS}
    if (cert_reqs := options.get("ssl_cert_reqs", "required")) not in _CERT_REQS:
        raise _error(url, f"ssl_cert_reqs is {cert_reqs!r}, but must be one of {', '.join(_CERT_REQS)}.")
    check_hostname = _BOOLEANS.get(options.get("ssl_check_hostname", "true").lower())
    if check_hostname is None:
        raise _error(url, "ssl_check_hostname must be true or false.")
    return {**tls, "ssl_check_hostname": check_hostname}
