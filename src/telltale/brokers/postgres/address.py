"""Where PostgreSQL is, and on which channel this site speaks: what a `postgres://` URL says.

Knows URLs, libpq's parameters and Django's `DATABASES`; connects to nothing. `postgres.py` builds one, and the
courier asks it before each connection. Nothing of it that may be shown holds a password.
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
"""An identifier as PostgreSQL takes it without quotes, of at most 63 bytes."""

FORM: Final = "postgres://user:password@host:5432/database?sslmode=require"

_NOT_LIBPQ: Final = ("context", "cursor_factory", "prepare_threshold")
"""What Django hands to psycopg beside the parameters of a connection."""


@dataclass(frozen=True, slots=True)
class Address:
    """A channel, and the database in which it is: a server's own address, or Django's of the given alias."""

    channel: str
    alias: str
    server: Mapping[str, Any] | None = field(repr=False)

    def conninfo(self) -> str:
        """What libpq connects to: a secret, and never to be shown.

        Django's parameters are asked for each time, for passwords may be exchanged while a process runs.
        """
        given = self.server
        if given is None:
            found = connections[self.alias].get_connection_params()
            given = {name: value for name, value in found.items() if name not in _NOT_LIBPQ}
        return make_conninfo(**{"application_name": "telltale", **given, "client_encoding": "UTF8"})


def read(url: SplitResult) -> Address:
    """The address that `url` gives; raises `ImproperlyConfigured` with the mend, and without the password."""
    options = dict(parse_qsl(url.query, keep_blank_values=True))
    channel = options.pop("channel", None)
    if channel is None:
        channel = default_channel()
    elif not CHANNEL.fullmatch(channel):
        raise ImproperlyConfigured(
            f"{_said(url)} asks for the channel {channel!r}: choose 1 to 63 small letters, digits and _, "
            "beginning with no digit, such as ?channel=mysite."
        )
    if url.fragment:
        raise ImproperlyConfigured(
            f"{_said(url)} has a '#' in it: write %23 where that is meant, so that it does not end the address."
        )
    alias = conf.settings().database
    if url.netloc or url.path.strip("/"):
        return Address(channel, alias, _server(url, options))
    if options:
        raise ImproperlyConfigured(
            f"{_said(url)} names no server, but {', '.join(sorted(options))}: Django's own database has its options "
            f"in DATABASES[{alias!r}]['OPTIONS']; for another, write {FORM}."
        )
    _must_be_postgres(alias)
    return Address(channel, alias, None)


def default_channel() -> str:
    """The site's own, so that two in one database do not hear each other: it follows from `SECRET_KEY` alone.

    Not from the database's name: processes may reach one database by different names, as a pooler gives them.
    """
    return f"telltale_{salted_hmac('telltale.brokers.postgres', '', algorithm='sha256').hexdigest()[:12]}"


def _server(url: SplitResult, options: Mapping[str, str]) -> Mapping[str, Any]:
    known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
    if unknown := sorted(options.keys() - known):
        raise ImproperlyConfigured(
            f"{_said(url)} has the option {unknown[0]!r}, which is neither channel nor one of libpq's: leave it out."
        )
    query = f"?{urlencode(options)}" if options else ""
    try:
        found = conninfo_to_dict(f"postgresql://{url.netloc}{url.path}{query}")
    except ProgrammingError:
        # Its own words are not handed on: they may repeat the address, with the password in it.
        found = {}
    ports, database = str(found.get("port", "")), str(found.get("dbname", ""))
    if found and (not ports or ports.replace(",", "").isdigit()) and not {"@", "/"} & {*database}:
        return found
    raise ImproperlyConfigured(
        f"{_said(url)} can't be read: write {FORM}, and in names and password write what is no letter or digit "
        "as % and two digits (@ is %40, / is %2F)."
    )


def _must_be_postgres(alias: str) -> None:
    try:
        vendor = connections[alias].vendor
    except ConnectionDoesNotExist as error:
        raise ImproperlyConfigured(f"TELLTALE['DATABASE'] is {alias!r}, which DATABASES does not have.") from error
    if vendor != "postgresql":
        raise ImproperlyConfigured(
            f"TELLTALE['BROKER'] is postgres://, which means the database {alias!r}, and that one is {vendor}. "
            f"Name a PostgreSQL server, {FORM}, or choose local://."
        )


def _said(url: SplitResult) -> str:
    """How the setting is named in an error. A wrong address may have its password anywhere: none of it is shown."""
    return f"TELLTALE['BROKER'] = '{url.scheme}://…'"
