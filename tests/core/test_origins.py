"""Other origins: which are allowed, and what their browsers are told."""

import pytest

from telltale.core.origins import REQUEST_HEADERS, cors_headers, is_allowed, is_valid, preflight_headers

APP = "https://app.example.com"


@pytest.mark.parametrize(
    ("origin", "allowed", "expected"),
    [
        (APP, [APP], True),
        ("HTTPS://App.example.com", [APP], True),
        ("https://app.example.com:8443", [APP], False),
        ("http://app.example.com", [APP], False),
        ("https://app.example.com.evil.org", [APP], False),
        (APP, ["https://*.example.com"], True),
        ("https://a.b.example.com", ["https://*.example.com"], True),
        ("https://example.com", ["https://*.example.com"], False),
        ("https://evilexample.com", ["https://*.example.com"], False),
        ("http://app.example.com", ["https://*.example.com"], False),
        ("https://app.example.com:8443", ["https://*.example.com:8443"], True),
        ("null", [APP, "https://*.example.com"], False),
        ("null", ["*"], True),
        (APP, ["*"], True),
        ("", ["*"], False),
        (APP, [], False),
    ],
)
def test_an_origin_is_allowed_as_listed_as_a_subdomain_or_by_a_wildcard(
    origin: str, allowed: list[str], expected: bool
) -> None:
    assert is_allowed(origin, allowed) is expected
    assert ("Access-Control-Allow-Origin" in dict(cors_headers(origin, allowed))) is (expected or allowed == ["*"])


@pytest.mark.parametrize(
    ("allowed", "granted", "has_credentials"),
    [
        ([APP], APP, True),
        (["*"], "*", False),
        (["https://*.example.com"], APP, False),
        (["*", "https://*.example.com", APP], APP, True),
        (["*", "https://*.example.com"], "*", False),
    ],
)
def test_s05_cookies_are_allowed_for_origins_that_are_listed_and_never_by_a_wildcard(
    allowed: list[str], granted: str, has_credentials: bool
) -> None:
    for headers in (dict(cors_headers(APP, allowed)), dict(preflight_headers(APP, allowed))):
        assert headers["Access-Control-Allow-Origin"] == granted
        assert headers.get("Access-Control-Allow-Credentials") == ("true" if has_credentials else None)
        assert headers["Vary"] == "Origin"


def test_a_preflight_of_another_origin_grants_nothing() -> None:
    assert preflight_headers("https://evil.org", [APP]) == [("Vary", "Origin")]
    assert preflight_headers("https://evil.org", []) == cors_headers(APP, []) == []


def test_a_preflight_grants_the_headers_that_the_page_wants_to_send() -> None:
    named = dict(preflight_headers(APP, [APP], requested="x-api-key,content-type"))
    assert named["Access-Control-Allow-Headers"] == "x-api-key,content-type"
    assert dict(preflight_headers(APP, [APP]))["Access-Control-Allow-Headers"] == REQUEST_HEADERS
    assert "POST" in named["Access-Control-Allow-Methods"]


@pytest.mark.parametrize("entry", [APP, "http://localhost:5173", "https://*.example.com", "*", "capacitor://localhost"])
def test_an_entry_is_an_origin_or_a_wildcard(entry: str) -> None:
    assert is_valid(entry)


@pytest.mark.parametrize(
    "entry", ["", "app.example.com", "https://app.example.com/", "https://a.*.com", "https://", "*.example.com"]
)
def test_a_host_a_path_and_a_wildcard_elsewhere_are_no_entries(entry: str) -> None:
    assert not is_valid(entry)
