"""What a Redis broker's URL may say, and what is said of a wrong one: never its password."""

import sys
from urllib.parse import urlsplit

import pytest
from django.core.exceptions import ImproperlyConfigured

from telltale.brokers import build
from telltale.brokers.redis.url import Address, Kind, Node, default_prefix, parse
from telltale.brokers.urls import shown


def read(url: str) -> Address:
    return parse(urlsplit(url))


def test_the_shortest_form_has_the_usual_places() -> None:
    address = read("redis://cache")
    assert (address.kind, address.nodes, address.db) == (Kind.DIRECT, (Node("cache", 6379),), 0)
    assert (address.user, address.password, address.tls) == (None, None, None)
    assert address.prefix == default_prefix()


def test_user_and_password_are_percent_decoded() -> None:
    address = read("redis://te%3All:p%40ss%2Fw%3Ard@cache:6380/3?prefix=mysite:")
    assert (address.user, address.password) == ("te:ll", "p@ss/w:rd")
    assert (address.nodes, address.db, address.prefix) == ((Node("cache", 6380),), 3, "mysite:")


def test_a_password_alone_is_the_default_users() -> None:
    address = read("redis://:secret@cache")
    assert (address.user, address.password) == (None, "secret")


def test_tls_verifies_unless_it_is_told_otherwise() -> None:
    assert read("rediss://cache").tls == {"ssl_check_hostname": True}
    lax = read("rediss://cache?ssl_cert_reqs=none&ssl_check_hostname=false&ssl_ca_certs=/etc/ca.pem").tls
    assert lax == {"ssl_cert_reqs": "none", "ssl_check_hostname": False, "ssl_ca_certs": "/etc/ca.pem"}


def test_sentinels_know_the_master_by_its_name() -> None:
    address = read("redis+sentinel://u:p@a:1,b/mymaster?db=2&sentinel_user=s&sentinel_password=q")
    assert address.nodes == (Node("a", 1), Node("b", 26379))
    assert (address.master, address.db, address.user, address.password) == ("mymaster", 2, "u", "p")
    assert (address.sentinel_user, address.sentinel_password) == ("s", "q")


def test_a_cluster_is_known_by_some_of_its_servers() -> None:
    address = read("rediss+cluster://[::1]:7000,b")
    assert (address.kind, address.nodes) == (Kind.CLUSTER, (Node("::1", 7000), Node("b", 6379)))
    assert address.tls is not None


def test_a_socket_is_a_path() -> None:
    address = read("unix:///run/redis/redis.sock?db=1")
    assert (address.nodes, address.db) == ((Node("/run/redis/redis.sock", 0),), 1)
    assert read("unix://:secret@/run/redis.sock").password == "secret"


def test_sites_differ_by_secret_and_by_database(settings, monkeypatch: pytest.MonkeyPatch) -> None:
    here = default_prefix()
    settings.SECRET_KEY = "another site's"
    there = default_prefix()
    monkeypatch.setitem(settings.DATABASES["default"], "NAME", "a copy")
    assert len({here, there, default_prefix()}) == 3


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("redis://", "needs a host"),
        ("redis://a,b", "only sentinels and clusters"),
        ("redis://:hush@cache:port", "a port is a number"),
        ("redis://:hu/sh@cache", "a port is a number"),
        ("redis://:hu#sh@cache", "."),
        ("redis://:hu[sh@cache", "Percent-encode"),
        ("redis://:hush@cache/one", "is not a number"),
        ("redis://:hush@cache?timeout=3", "'timeout' means nothing here; there are db, prefix"),
        ("redis://:hush@cache?ssl_cert_reqs=none", "It is for rediss://"),
        ("redis://:hush@cache?prefix=a{b}", "a prefix is"),
        ("redis://:hush@cache?prefix=", "a prefix is"),
        ("redis://:hush@cache?db=1&db=2", "twice"),
        ("rediss://:hush@cache?ssl_cert_reqs=maybe", "none, optional, required"),
        ("rediss://:hush@cache?ssl_check_hostname=maybe", "true or false"),
        ("redis+sentinel://:hush@cache", "name by which the sentinels"),
        ("redis+cluster://:hush@cache/1", "no databases"),
        ("unix://:hush@cache", "absolute path of a socket"),
        ("redis+sentinel://a/m?sentinel_password=hush&x=1", "'x' means nothing"),
        ("redis+sentinal://:hush@cache", "no broker answers to 'redis[+]sentinal'"),
    ],
)
def test_a_wrong_url_is_refused_with_the_mend_and_without_the_password(url: str, why: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=why) as raised:
        build(url)
    assert "hush" not in str(raised.value)
    assert "hu" not in str(raised.value).replace("host", "")


def test_a_right_url_opens_nothing() -> None:
    build("rediss+sentinel://nobody.invalid/x").close()


def test_an_address_that_is_shown_has_no_password() -> None:
    assert "hush" not in repr(read("redis+sentinel://me:hush@a/m?sentinel_password=hush"))
    assert shown("redis://me:hu/s?h@a/1?x_password=hush&y=1") == "redis://***@a/1?x_password=***&y=1"
    assert shown("local://") == "local://"


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "telltale.brokers.redis.broker")
    monkeypatch.setitem(sys.modules, "hiredis", None)
    with pytest.raises(ImproperlyConfigured, match=r"pip install 'django-telltale\[redis\]'"):
        build("redis://cache")
