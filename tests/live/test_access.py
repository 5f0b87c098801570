"""The door of the live address: where it is, for which hosts and which pages it opens."""

from typing import Any

import pytest
from django.test import override_settings

from telltale.live.access import is_known_host, is_live, is_trusted_origin


def asks(host: str = "example.org", origin: str | None = None, **more: str) -> Any:
    """A request's scope."""
    headers = {"host": host, **({} if origin is None else {"origin": origin}), **more}
    return {"headers": [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]}


@pytest.mark.parametrize("path", ["/telltale/live/", "/under/telltale/live/"])
def test_the_live_address_is_found_with_and_without_the_root_before_it(path: str) -> None:
    assert is_live(path, "/under")
    assert is_live(path, "/under/")


@pytest.mark.parametrize(
    "path", ["/telltale/live", "/telltale/live/x", "/", "", "/undertelltale/live/", "//telltale/live/"]
)
def test_nothing_else_is_the_live_address(path: str) -> None:
    assert not is_live(path)
    assert not is_live(path, "/under")


@override_settings(FORCE_SCRIPT_NAME="/forced")
def test_a_forced_script_name_counts() -> None:
    assert is_live("/forced/telltale/live/")
    assert not is_live("/under/telltale/live/", "/under")


@override_settings(ROOT_URLCONF="telltale.urls")
def test_where_the_urls_are_included_elsewhere_the_address_is_there() -> None:
    assert not is_live("/telltale/live/")


@override_settings(ALLOWED_HOSTS=["example.org", ".example.com"])
def test_the_hosts_are_djangos() -> None:
    assert all(
        is_known_host(asks(host)) for host in ("example.org", "EXAMPLE.org:8443", "a.example.com", "example.com")
    )
    assert not any(
        is_known_host(asks(host)) for host in ("", "evil.example", "example.org.evil.example", "a b", "[::1")
    )


@override_settings(ALLOWED_HOSTS=["example.org"])
def test_a_forwarded_host_counts_where_the_settings_say_so_alone() -> None:
    request = asks("inner", x_forwarded_host="example.org")
    assert not is_known_host(request)
    with override_settings(USE_X_FORWARDED_HOST=True):
        assert is_known_host(request)
        assert is_trusted_origin(asks("inner", "https://example.org", x_forwarded_host="example.org"))


@override_settings(ALLOWED_HOSTS=[], DEBUG=True)
def test_a_developers_machine_is_known_while_debugging() -> None:
    assert all(is_known_host(asks(host)) for host in ("localhost:8000", "a.localhost", "127.0.0.1", "[::1]:8000"))
    with override_settings(DEBUG=False):
        assert not is_known_host(asks("localhost"))


def test_a_program_that_is_no_page_has_no_origin() -> None:
    assert is_trusted_origin(asks())


@pytest.mark.parametrize("origin", ["https://example.org", "http://example.org:80", "https://EXAMPLE.org:443"])
def test_the_sites_own_pages_may_listen(origin: str) -> None:
    assert is_trusted_origin(asks("example.org", origin))
    assert is_trusted_origin(asks("example.org:443", origin))


@pytest.mark.parametrize(
    "origin",
    ["null", "https://evil.example", "https://example.org.evil.example", "https://example.org:8443", "file://", "x"],
)
def test_no_other_page_may(origin: str) -> None:
    assert not is_trusted_origin(asks("example.org", origin))


@override_settings(CSRF_TRUSTED_ORIGINS=["https://*.example.com", "https://other.example:8443"])
def test_trusted_origins_are_djangos() -> None:
    assert is_trusted_origin(asks(origin="https://a.example.com"))
    assert is_trusted_origin(asks(origin="https://other.example:8443"))
    for origin in (
        "http://a.example.com",
        "https://other.example",
        "https://aexample.com",
        "https://a.example.com.evil",
    ):
        assert not is_trusted_origin(asks(origin=origin))
