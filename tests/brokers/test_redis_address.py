"""URLs of the Redis broker: what they mean, and errors that never show the password."""

import sys
from urllib.parse import urlsplit

import pytest
from django.core.exceptions import ImproperlyConfigured

from telltale.brokers import build
from telltale.brokers.redis.address import Deployment, Node, RedisAddress, default_prefix, parse
from telltale.brokers.urls import redact


def read(url: str) -> RedisAddress:
    return parse(urlsplit(url))


def test_the_shortest_url_has_the_usual_defaults() -> None:
    address = read("redis://cache")
    assert (address.deployment, address.nodes, address.db) == (Deployment.SINGLE_SERVER, (Node("cache", 6379),), 0)
    assert (address.user, address.password, address.tls) == (None, None, None)
    assert address.prefix == default_prefix()


def test_user_and_password_are_percent_decoded() -> None:
    address = read("redis://te%3All:p%40ss%2Fw%3Ard@cache:6380/3?prefix=mysite:")
    assert (address.user, address.password) == ("te:ll", "p@ss/w:rd")
    assert (address.nodes, address.db, address.prefix) == ((Node("cache", 6380),), 3, "mysite:")


def test_a_password_without_a_user_is_that_of_the_default_user() -> None:
    address = read("redis://:secret@cache")
    assert (address.user, address.password) == (None, "secret")


def test_tls_verifies_certificates_unless_options_say_otherwise() -> None:
    assert read("rediss://cache").tls == {"ssl_check_hostname": True}
    unverified = read("rediss://cache?ssl_cert_reqs=none&ssl_check_hostname=false&ssl_ca_certs=/etc/ca.pem").tls
    assert unverified == {"ssl_cert_reqs": "none", "ssl_check_hostname": False, "ssl_ca_certs": "/etc/ca.pem"}


def test_a_sentinel_url_names_the_sentinels_and_the_master() -> None:
    address = read("redis+sentinel://u:p@a:1,b/mymaster?db=2&sentinel_user=s&sentinel_password=q")
    assert address.nodes == (Node("a", 1), Node("b", 26379))
    assert (address.master, address.db, address.user, address.password) == ("mymaster", 2, "u", "p")
    assert (address.sentinel_user, address.sentinel_password) == ("s", "q")


def test_a_cluster_url_names_some_of_its_servers() -> None:
    address = read("rediss+cluster://[::1]:7000,b")
    assert (address.deployment, address.nodes) == (Deployment.CLUSTER, (Node("::1", 7000), Node("b", 6379)))
    assert address.tls is not None


def test_a_unix_url_names_the_path_of_a_socket() -> None:
    address = read("unix:///run/redis/redis.sock?db=1")
    assert (address.nodes, address.db) == ((Node("/run/redis/redis.sock", 0),), 1)
    assert read("unix://:secret@/run/redis.sock").password == "secret"


def test_the_default_prefix_depends_on_the_secret_key_and_the_database(
    settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    our_prefix = default_prefix()
    settings.SECRET_KEY = "another site's"
    other_prefix = default_prefix()
    monkeypatch.setitem(settings.DATABASES["default"], "NAME", "a copy")
    assert len({our_prefix, other_prefix, default_prefix()}) == 3


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("redis://", "needs a host"),
        ("redis://a,b", "only sentinels and clusters"),
        ("redis://:hush@cache:port", "a port is a number"),
        ("redis://:hu/sh@cache", "a port is a number"),
        ("redis://:hu#sh@cache", "write %23 instead"),
        ("redis://:hu[sh@cache", "Percent-encode"),
        ("redis://:hush@cache/one", "is not a number"),
        ("redis://:hush@cache?timeout=3", "'timeout' is unknown; there are db, prefix"),
        ("redis://:hush@cache?ssl_cert_reqs=none", "It is for rediss://"),
        ("redis://:hush@cache?prefix=a{b}", "a prefix is"),
        ("redis://:hush@cache?prefix=", "a prefix is"),
        ("redis://:hush@cache?db=1&db=2", "twice"),
        ("rediss://:hush@cache?ssl_cert_reqs=maybe", "none, optional, required"),
        ("rediss://:hush@cache?ssl_check_hostname=maybe", "must be true or false"),
        ("redis+sentinel://:hush@cache", "name of the master at the sentinels"),
        ("redis+cluster://:hush@cache/1", "no databases"),
        ("unix://:hush@cache", "absolute path of a socket"),
        ("redis+sentinel://a/m?sentinel_password=hush&x=1", "'x' is unknown"),
        ("redis+sentinal://:hush@cache", "no broker has the scheme 'redis[+]sentinal'"),
    ],
)
def test_an_invalid_url_is_refused_with_an_error_that_does_not_show_the_password(url: str, problem: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=problem) as raised:
        build(url)
    assert "hush" not in str(raised.value)
    assert "hu" not in str(raised.value).replace("host", "")


def test_building_a_broker_opens_nothing() -> None:
    build("rediss+sentinel://nobody.invalid/x").close()


def test_a_shown_address_has_no_password() -> None:
    assert "hush" not in repr(read("redis+sentinel://me:hush@a/m?sentinel_password=hush"))
    assert redact("redis://me:hu/s?h@a/1?x_password=hush&y=1") == "redis://***@a/1?x_password=***&y=1"
    assert redact("local://") == "local://"


def test_the_error_for_a_missing_package_gives_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "telltale.brokers.redis.broker")
    monkeypatch.setitem(sys.modules, "hiredis", None)
    with pytest.raises(ImproperlyConfigured, match=r"pip install 'django-telltale\[redis\]'"):
        build("redis://cache")
