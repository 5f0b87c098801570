"""What a `postgres://` URL says: the database to connect to, and this site's channel.

Knows URLs, libpq's parameters and Django's `DATABASES`; connects to nothing. `broker.py` builds an address, and
the notification thread reads it before each connection. Nothing that may be shown holds a password.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, urlencode

from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.utils.connection import ConnectionDoesNotExist
from django.utils.crypto import salted_hmac
from psycopg import ProgrammingError, pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from telltale import conf

CHANNEL: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}")
"""An identifier that PostgreSQL takes without quotes, of at most 63 bytes."""

EXAMPLE: Final = "postgres://user:password@host:5432/database?sslmode=require"

_NOT_LIBPQ: Final = ("context", "cursor_factory", "prepare_threshold")
"""What Django passes to psycopg besides libpq's parameters."""


@dataclass(frozen=True, slots=True)
class PostgresAddress:
    """A channel, and its database: the given server's, or Django's own of the given alias."""

    channel: str
    alias: str
    server: Mapping[str, Any] | None = field(repr=False)
    """libpq's parameters; None: Django's database."""

    def conninfo(self) -> str:
        """The connection string for libpq: a secret, so never show it.

        Django is asked for its parameters each time, because a password may change while a process runs.
        """
        parameters = self.server
        if parameters is None:
            django_parameters = connections[self.alias].get_connection_params()
            parameters = {name: value for name, value in django_parameters.items() if name not in _NOT_LIBPQ}
        return make_conninfo(**{"application_name": "telltale", **parameters, "client_encoding": "UTF8"})


def parse(url: SplitResult) -> PostgresAddress:
    """The address that `url` gives; raises `ImproperlyConfigured`, without the password in its text."""
    options = dict(parse_qsl(url.query, keep_blank_values=True))
    channel = options.pop("channel", None)
    if channel is None:
        channel = default_channel()
    elif not CHANNEL.fullmatch(channel):
        raise ImproperlyConfigured(
            f"{_setting(url)} asks for the channel {channel!r}: choose 1 to 63 small letters, digits and _, "
            "not beginning with a digit, such as ?channel=mysite."
        )
    if url.fragment:
        raise ImproperlyConfigured(f"{_setting(url)} contains a '#', which ends the address: write %23 instead.")
    alias = conf.settings().database
    if url.netloc or url.path.strip("/"):
        return PostgresAddress(channel, alias, _server_parameters(url, options))
    if options:
        raise ImproperlyConfigured(
            f"{_setting(url)} has the options {', '.join(sorted(options))}, but no server: set the options of Django's "
            f"own database in DATABASES[{alias!r}]['OPTIONS']; for another database, write {EXAMPLE}."
        )
    _require_postgres(alias)
    return PostgresAddress(channel, alias, None)


def default_channel() -> str:
    """This site's channel, which depends on `SECRET_KEY` only: sites in one database don't receive each other.

    The database's name is not part of it: through a pooler, processes may reach one database by different names.
    """
    return f"telltale_{salted_hmac('telltale.brokers.postgres', '', algorithm='sha256').hexdigest()[:12]}"


def _server_parameters(url: SplitResult, options: Mapping[str, str]) -> Mapping[str, Any]:
    known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
    if unknown := sorted(options.keys() - known):
        raise ImproperlyConfigured(
            f"{_setting(url)} has the option {unknown[0]!r}, which is neither `channel` nor an option of libpq: "
            "leave it out."
        )
    query = f"?{urlencode(options)}" if options else ""
    try:
        parameters = conninfo_to_dict(f"postgresql://{url.netloc}{url.path}{query}")
    except ProgrammingError:
        # libpq's own text is not shown: it may repeat the address, with the password.
        parameters = {}
    ports, database = str(parameters.get("port", "")), str(parameters.get("dbname", ""))
    if parameters and (not ports or ports.replace(",", "").isdigit()) and not {"@", "/"} & {*database}:
        return parameters
    raise ImproperlyConfigured(
        f"{_setting(url)} can't be read: write {EXAMPLE}, and percent-encode names and password: every character "
        "that is no letter or digit as % and two digits (@ is %40, / is %2F)."
    )


def _require_postgres(alias: str) -> None:
    try:
        vendor = connections[alias].vendor
    except ConnectionDoesNotExist as error:
        raise ImproperlyConfigured(
            f"TELLTALE['DATABASE'] is {alias!r}, which DATABASES does not have. "
            f"Use one of {', '.join(map(repr, connections))}."
        ) from error
    if vendor != "postgresql":
        raise ImproperlyConfigured(
            f"TELLTALE['BROKER'] is postgres://, which means the database {alias!r}, but that is {vendor}. "
            f"Name a PostgreSQL server, {EXAMPLE}, or choose local://."
        )


def _setting(url: SplitResult) -> str:
    """The setting, for an error. None of the address is shown: a wrong one may have its password anywhere."""
    return f"TELLTALE['BROKER'] = '{url.scheme}://…'"
