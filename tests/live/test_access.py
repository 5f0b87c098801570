"""Access to the live address: its path, and the hosts and origins that may use it."""

from dataclasses import replace
from typing import Any

import pytest
from django.test import override_settings
from django.urls import reverse
from django.utils import translation

from telltale.live.access import is_known_host, is_live, is_trusted_origin
from telltale.transports.http import LiveRequest


def request_of(host: str = "example.org", origin: str = "") -> LiveRequest:
    return LiveRequest(host=host, origin=origin)


@pytest.mark.parametrize("path", ["/telltale/live/", "/under/telltale/live/"])
def test_the_live_address_is_recognised_with_and_without_the_root_path(path: str) -> None:
    assert is_live(path, "/under")
    assert is_live(path, "/under/")


@pytest.mark.parametrize(
    "path", ["/telltale/live", "/telltale/live/x", "/", "", "/undertelltale/live/", "//telltale/live/"]
)
def test_other_paths_are_not_the_live_address(path: str) -> None:
    assert not is_live(path)
    assert not is_live(path, "/under")


@override_settings(FORCE_SCRIPT_NAME="/forced")
def test_a_forced_script_name_replaces_the_root_path() -> None:
    assert is_live("/forced/telltale/live/")
    assert not is_live("/under/telltale/live/", "/under")


@override_settings(ROOT_URLCONF="telltale.urls")
def test_the_live_address_moves_with_the_included_urls() -> None:
    assert not is_live("/telltale/live/")


@override_settings(
    ROOT_URLCONF="tests.live.language_urls", LANGUAGE_CODE="en", LANGUAGES=[("en", "English"), ("de", "German")]
)
def test_inside_i18n_patterns_the_live_address_of_every_language_is_served() -> None:
    for code, path in (("en", "/telltale/live/"), ("de", "/de/telltale/live/")):
        with translation.override(code):
            assert reverse("telltale:live") == path
        assert is_live(path)
        assert is_live(f"/under{path}", "/under")
    assert not is_live("/fr/telltale/live/")


@override_settings(ALLOWED_HOSTS=["example.org", ".example.com"])
def test_allowed_hosts_are_checked_as_django_checks_them() -> None:
    assert all(
        is_known_host(request_of(host)) for host in ("example.org", "EXAMPLE.org:8443", "a.example.com", "example.com")
    )
    assert not any(
        is_known_host(request_of(host)) for host in ("", "evil.example", "example.org.evil.example", "a b", "[::1")
    )


@override_settings(ALLOWED_HOSTS=["example.org"])
def test_a_forwarded_host_is_used_only_if_the_settings_say_so() -> None:
    request = LiveRequest(host="inner", forwarded_host="example.org", origin="https://example.org")
    assert not is_known_host(request)
    with override_settings(USE_X_FORWARDED_HOST=True):
        assert is_known_host(request)
        assert is_trusted_origin(request)


@override_settings(ALLOWED_HOSTS=[], DEBUG=True)
def test_local_hosts_are_allowed_under_debug() -> None:
    assert all(is_known_host(request_of(host)) for host in ("localhost:8000", "a.localhost", "127.0.0.1", "[::1]:8000"))
    with override_settings(DEBUG=False):
        assert not is_known_host(request_of("localhost"))


def test_a_request_without_an_origin_is_trusted() -> None:
    assert is_trusted_origin(request_of())


@pytest.mark.parametrize("origin", ["https://example.org", "http://example.org:80", "https://EXAMPLE.org:443"])
def test_the_sites_own_origin_is_trusted(origin: str) -> None:
    assert is_trusted_origin(request_of("example.org", origin))
    assert is_trusted_origin(request_of("example.org:443", origin))


@pytest.mark.parametrize(
    "origin",
    ["null", "https://evil.example", "https://example.org.evil.example", "https://example.org:8443", "file://", "x"],
)
def test_s03_other_origins_are_not_trusted(origin: str) -> None:
    assert not is_trusted_origin(request_of("example.org", origin))


@override_settings(CSRF_TRUSTED_ORIGINS=["https://*.example.com", "https://other.example:8443"])
def test_s03_csrf_trusted_origins_are_checked_as_django_checks_them() -> None:
    assert is_trusted_origin(request_of(origin="https://a.example.com"))
    assert is_trusted_origin(request_of(origin="https://other.example:8443"))
    for origin in (
        "http://a.example.com",
        "https://other.example",
        "https://aexample.com",
        "https://a.example.com.evil",
    ):
        assert not is_trusted_origin(request_of(origin=origin))


def test_a_request_is_parsed_from_its_headers_once_and_the_first_of_two_lines_counts() -> None:
    headers = [
        (b"Host", b"example.org"),
        (b"host", b"evil.example"),
        (b"X-Forwarded-Host", b"www.example.org"),
        (b"X-Forwarded-For", b"198.51.100.1"),
        (b"x-forwarded-for", b"10.2.3.4"),
        (b"Origin", b"https://example.org"),
        (b"Accept", b"text/event-stream"),
        (b"Authorization", b"bearer abc "),
    ]
    request = LiveRequest.from_scope({"headers": headers, "client": ("203.0.113.9", 4711)})
    assert request == LiveRequest(
        address="203.0.113.9",
        host="example.org",
        forwarded_host="www.example.org",
        forwarded_for="198.51.100.1,10.2.3.4",
        origin="https://example.org",
        accept="text/event-stream",
        ticket="abc",
    )
    assert request.wants_event_stream
    assert LiveRequest.from_scope({"headers": []}) == LiveRequest()


def test_s03_a_request_with_two_origins_comes_from_no_page_of_this_site(settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["example.org"]
    headers = [(b"host", b"example.org"), (b"origin", b"https://example.org"), (b"Origin", b"https://evil.example")]
    for several in (headers, [headers[0], *reversed(headers[1:])]):
        request = LiveRequest.from_headers(several)
        assert is_known_host(request)
        assert not is_trusted_origin(request)
    assert is_trusted_origin(LiveRequest.from_headers(headers[:2]))


@pytest.mark.parametrize("how", ["itself", "its proxy", "redirect"])
def test_s03_a_page_of_plain_http_is_no_page_of_a_site_that_uses_tls(settings, how: str) -> None:
    plain = LiveRequest(host="example.org", origin="http://example.org")
    assert is_trusted_origin(plain), "the site may use plain HTTP"
    if how == "redirect":
        settings.SECURE_SSL_REDIRECT = True
    if how == "its proxy":
        settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
        assert is_trusted_origin(replace(plain, forwarded_proto="http"))
    more = {"itself": {"is_secure": True}, "its proxy": {"forwarded_proto": "https"}, "redirect": {}}[how]
    assert not is_trusted_origin(replace(plain, **more))
    assert is_trusted_origin(replace(plain, origin="https://example.org", **more))
    settings.CSRF_TRUSTED_ORIGINS = ["http://other.example"]
    assert is_trusted_origin(replace(plain, origin="http://other.example", **more))


@pytest.mark.parametrize("scheme", ["https", "wss"])
def test_a_request_over_tls_is_known(scheme: str) -> None:
    assert LiveRequest.from_scope({"headers": [], "scheme": scheme}).is_secure
    assert not LiveRequest.from_scope({"headers": [], "scheme": "http"}).is_secure
