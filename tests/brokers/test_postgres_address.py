"""What a `postgres://` URL means, and that none of its passwords is ever said."""

import sys
from typing import Any

import psycopg
import pytest
from django.core.exceptions import ImproperlyConfigured
from psycopg.conninfo import conninfo_to_dict

from telltale import checks
from telltale.brokers import build
from telltale.brokers.base import Reach
from telltale.brokers.postgres.address import Address, default_channel
from telltale.brokers.postgres.broker import PostgresBroker

SERVER = "postgres://ann:s3cret@db.example:6000/site"


def address(url: str) -> Address:
    broker = build(url)
    assert isinstance(broker, PostgresBroker)
    return broker.address


@pytest.mark.parametrize("scheme", ["postgres", "postgresql"])
def test_an_address_of_its_own_is_taken_as_it_is(scheme: str) -> None:
    found = address(f"{scheme}://ann:s%23cret@db.example:6000/site?sslmode=require&channel=mysite")
    assert conninfo_to_dict(found.conninfo()) == {
        "user": "ann",
        "password": "s#cret",
        "host": "db.example",
        "port": "6000",
        "dbname": "site",
        "sslmode": "require",
        "application_name": "telltale",
        "client_encoding": "UTF8",
    }
    assert found.channel == "mysite"


def test_several_hosts_may_be_named() -> None:
    found = conninfo_to_dict(address("postgres://a:6001,b:6002/site?target_session_attrs=read-write").conninfo())
    assert (found["host"], found["port"]) == ("a,b", "6001,6002")


def test_alone_it_means_the_database_of_django(monkeypatch: pytest.MonkeyPatch) -> None:
    from django.db import connections

    given = {"dbname": "site", "user": "ann", "password": "old", "prepare_threshold": None, "cursor_factory": object}
    monkeypatch.setattr(connections["default"], "vendor", "postgresql")
    monkeypatch.setattr(connections["default"], "get_connection_params", lambda: given, raising=False)
    found = address("postgres://")
    given["password"] = "exchanged since"
    said = conninfo_to_dict(found.conninfo())
    assert (said["dbname"], said["user"], said["password"]) == ("site", "ann", "exchanged since")


def test_where_djangos_database_is_another_it_says_so(settings: Any) -> None:
    settings.TELLTALE = {"BROKER": "postgres://"}
    if settings.DATABASES["default"]["ENGINE"].endswith("postgresql"):
        pytest.skip("these tests run on PostgreSQL")
    (error,) = checks.check_settings()
    assert "the database 'default', and that one is" in error.msg
    assert "choose local://" in error.msg


def test_an_alias_that_is_not_there_is_named(settings: Any) -> None:
    settings.TELLTALE = {"DATABASE": "elsewhere"}
    with pytest.raises(ImproperlyConfigured, match="'elsewhere', which DATABASES does not have"):
        build("postgres://")


def test_its_reach_is_the_whole_site() -> None:
    assert build(SERVER).reach is Reach.SITE


def test_sites_in_one_database_have_channels_of_their_own(settings: Any) -> None:
    here = default_channel()
    assert address(SERVER).channel == here
    settings.SECRET_KEY = "another site's"
    assert default_channel() != here


@pytest.mark.parametrize(
    ("wrong", "mend"),
    [
        (f"{SERVER}?channel=My-Site", "small letters"),
        (f"{SERVER}?channel={'x' * 64}", "1 to 63"),
        (f"{SERVER}?channel=", "1 to 63"),
        (f"{SERVER}?sslmod=require&password=s3cret", "'sslmod'"),
        ("postgres://ann:s3cret#x@db.example/site", "write %23"),
        ("postgres://ann:s3cret/x@db.example/site", "/ is %2F"),
        ("postgres://ann:6000s3cret/x@db.example/site", "/ is %2F"),
        ("postgres://ann:6000/s3cret@db.example/site", "@ is %40"),
        ("postgres://ann:%zzs3cret@db.example/site", "as % and two digits"),
        ("postgres://?sslmode=require", "sslmode"),
    ],
)
def test_a_wrong_address_is_refused_with_the_mend_and_without_the_password(wrong: str, mend: str) -> None:
    with pytest.raises(ImproperlyConfigured) as refused:
        build(wrong)
    assert mend in str(refused.value)
    assert "s3cret" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_passwords_are_not_in_what_is_shown_of_it() -> None:
    assert "s3cret" not in repr(address(SERVER))


def test_without_psycopg_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "telltale.brokers.postgres.address")
    monkeypatch.setitem(sys.modules, psycopg.__name__, None)
    with pytest.raises(ImproperlyConfigured, match="pip install"):
        build(SERVER)
