"""The URL `pusher://…`: the hosted service, or a host; wrong ones are named without their secrets."""

from urllib.parse import quote, urlsplit

import pytest
from django.core.exceptions import ImproperlyConfigured

from telltale import brokers
from telltale.brokers.urls import redact
from telltale.pusher.publisher.address import PusherAddress, parse
from telltale.pusher.pusher_apps import PusherApp


def address_of(url: str) -> PusherAddress:
    return parse(urlsplit(url))


def test_a_word_is_a_cluster_of_the_hosted_service() -> None:
    """P65."""
    address = address_of("pusher://k1:s2@eu/42")
    assert address.app == PusherApp(id="42", key="k1", secret="s2")
    assert (address.cluster, address.host, address.is_tls) == ("eu", "", True)
    assert address.browser_options() == {"cluster": "eu"}


@pytest.mark.parametrize(
    ("location", "host", "port"),
    [
        ("push.example.org", "push.example.org", None),
        ("soketi:6001", "soketi", 6001),
        ("localhost", "localhost", None),
        ("127.0.0.1:80", "127.0.0.1", 80),
        ("[::1]:6001", "[::1]", 6001),
    ],
)
def test_a_name_with_a_port_or_a_dot_is_a_host(location: str, host: str, port: int | None) -> None:
    address = address_of(f"pusher://k:s@{location}/42")
    assert (address.cluster, address.host, address.port, address.is_tls) == ("", host, port, True)


def test_a_host_may_be_without_tls_or_have_its_own_certificates() -> None:
    assert address_of("pusher://k:s@host:80/42?tls=0").is_tls is False
    assert address_of("pusher://k:s@host:443/42?ca_certs=/etc/ca.pem").ca_certs == "/etc/ca.pem"


def test_pages_get_the_options_of_pusher_js_for_a_host() -> None:
    """P75."""
    assert address_of("pusher://k:s@push.example.org:6001/42?tls=0").browser_options() == {
        "cluster": "",
        "wsHost": "push.example.org",
        "wsPort": 6001,
        "wssPort": 6001,
        "httpHost": "push.example.org",
        "httpPort": 6001,
        "httpsPort": 6001,
        "forceTLS": False,
        "enableStats": False,
    }


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("pusher://eu/42", "key or its secret is missing"),
        ("pusher://key-7@eu/42", "key or its secret is missing"),
        ("pusher://key-7:hush/42", "key or its secret is missing"),
        ("pusher://key-7:hu/sh@eu/42", "percent-encode"),
        ("pusher://key-7:hu?sh@eu/42", "percent-encode"),
        ("pusher://key-7:hu#sh@eu/42", "percent-encode"),
        ("pusher://key-7:hu%3Ash@eu/42", "has no : / or @"),
        ("pusher://key-7:hush@eu/", "must be a number"),
        ("pusher://key-7:hush@eu/my-app", "must be a number"),
        ("pusher://key-7:hush@EU_1/42", "neither a cluster"),
        ("pusher://key-7:hush@/42", "neither a cluster"),
        ("pusher://key-7:hush@eu/42?tls=0", "for hosts"),
        ("pusher://key-7:hush@host:x/42", "x"),
        ("pusher://key-7:hush@:80/42", "the host is missing"),
        ("pusher://key-7:hush@host:80/42?tls=maybe", "must be 0 or 1"),
        ("pusher://key-7:hush@host:80/42?tls=0&ca_certs=/x", "needs TLS"),
        ("pusher://key-7:hush@eu/42?cluster=eu", "'cluster' is unknown"),
        ("pusher://key-7:hush@eu/42?and=pusher://a:b@eu/43", "another scheme"),
    ],
)
def test_a_wrong_url_is_named_without_its_secrets(url: str, problem: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"Write pusher://KEY:SECRET@eu/APP_ID") as raised:
        brokers.build(url)
    text = str(raised.value)
    assert problem in text
    assert not any(secret in text for secret in ("key-7", "hush", "sh@", "hu/"))


def test_the_second_brokers_url_is_hidden_too() -> None:
    second = "redis://me:hush@host/0"
    assert address_of(f"pusher://k:s@eu/42?and={quote(second, safe='')}").second_broker == second
    for shown in (second, quote(second, safe="")):
        assert redact(f"pusher://k:s@eu/42?tls=0&and={shown}").count("hush") == 0
    assert "hush" not in repr(address_of(f"pusher://k:hush@eu/42?and={quote(second, safe='')}"))


def test_a_wrong_second_broker_is_named() -> None:
    with pytest.raises(ImproperlyConfigured, match="amqp"):
        brokers.build("pusher://k:s@eu/42?and=amqp://x")
