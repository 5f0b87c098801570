"""URLs of the PostgreSQL broker: what they mean, and errors that never show the password."""

import sys
from typing import Any

import psycopg
import pytest
from django.core.exceptions import ImproperlyConfigured
from psycopg.conninfo import conninfo_to_dict

from telltale import checks
from telltale.brokers import build
from telltale.brokers.base import Reach
from telltale.brokers.postgres.address import PostgresAddress, default_channel
from telltale.brokers.postgres.broker import PostgresBroker

SERVER = "postgres://ann:s3cret@db.example:6000/site"


def read(url: str) -> PostgresAddress:
    broker = build(url)
    assert isinstance(broker, PostgresBroker)
    return broker.address


@pytest.mark.parametrize("scheme", ["postgres", "postgresql"])
def test_a_url_with_a_server_names_the_database(scheme: str) -> None:
    address = read(f"{scheme}://ann:s%23cret@db.example:6000/site?sslmode=require&channel=mysite")
    assert conninfo_to_dict(address.conninfo()) == {
        "user": "ann",
        "password": "s#cret",
        "host": "db.example",
        "port": "6000",
        "dbname": "site",
        "sslmode": "require",
        "application_name": "telltale",
        "client_encoding": "UTF8",
    }
    assert address.channel == "mysite"


def test_a_url_may_name_several_hosts() -> None:
    parameters = conninfo_to_dict(read("postgres://a:6001,b:6002/site?target_session_attrs=read-write").conninfo())
    assert (parameters["host"], parameters["port"]) == ("a,b", "6001,6002")


def test_a_url_without_a_server_means_djangos_database_and_its_present_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from django.db import connections

    django_parameters = {
        "dbname": "site",
        "user": "ann",
        "password": "old",
        "prepare_threshold": None,
        "cursor_factory": object,
    }
    monkeypatch.setattr(connections["default"], "vendor", "postgresql")
    monkeypatch.setattr(connections["default"], "get_connection_params", lambda: django_parameters, raising=False)
    address = read("postgres://")
    django_parameters["password"] = "new"
    parameters = conninfo_to_dict(address.conninfo())
    assert (parameters["dbname"], parameters["user"], parameters["password"]) == ("site", "ann", "new")


def test_a_url_without_a_server_is_refused_if_djangos_database_is_not_postgresql(settings: Any) -> None:
    settings.TELLTALE = {"BROKER": "postgres://"}
    if settings.DATABASES["default"]["ENGINE"].endswith("postgresql"):
        pytest.skip("these tests run on PostgreSQL")
    (error,) = checks.check_settings()
    assert "the database 'default', but that is" in error.msg
    assert "choose local://" in error.msg


def test_the_error_for_an_unknown_alias_names_it_and_the_known_ones(settings: Any) -> None:
    settings.TELLTALE = {"DATABASE": "elsewhere"}
    with pytest.raises(
        ImproperlyConfigured, match=r"'elsewhere', which DATABASES does not have\. Use one of 'default'"
    ):
        build("postgres://")


def test_the_reach_is_the_whole_site() -> None:
    assert build(SERVER).reach is Reach.SITE


def test_the_default_channel_depends_on_the_secret_key(settings: Any) -> None:
    our_channel = default_channel()
    assert read(SERVER).channel == our_channel
    settings.SECRET_KEY = "another site's"
    assert default_channel() != our_channel


@pytest.mark.parametrize(
    ("url", "advice"),
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
def test_an_invalid_url_is_refused_with_advice_and_without_the_password(url: str, advice: str) -> None:
    with pytest.raises(ImproperlyConfigured) as refused:
        build(url)
    assert advice in str(refused.value)
    assert "s3cret" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_a_shown_address_has_no_password() -> None:
    assert "s3cret" not in repr(read(SERVER))


def test_the_error_for_a_missing_psycopg_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "telltale.brokers.postgres.address")
    monkeypatch.setitem(sys.modules, psycopg.__name__, None)
    with pytest.raises(ImproperlyConfigured, match="pip install"):
        build(SERVER)
