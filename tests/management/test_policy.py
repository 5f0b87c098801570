"""The doctor reads a content security policy as browsers read it."""

import pytest

from telltale.management.doctor.fetch import Tag
from telltale.management.doctor.policy import policies_of

PAGE = "https://a.example/tasks/"
MODULE = "https://a.example/static/telltale/page.js"


@pytest.mark.parametrize(
    ("policy", "url", "is_allowed"),
    [
        ("connect-src 'self'", "https://a.example/live/", True),
        ("connect-src 'none'", "https://a.example/live/", False),
        ("default-src https:", "https://b.example/live/", True),
        ("connect-src *.example", "https://a.example/live/", True),
        ("connect-src https://b.example", "https://a.example/live/", False),
        ("img-src 'none'", "https://a.example/live/", True),
        ("connect-src *, connect-src 'none'", "https://a.example/live/", False),
    ],
)
def test_requests_are_allowed_by_connect_src(policy: str, url: str, is_allowed: bool) -> None:
    policies = policies_of([policy])
    assert all(each.allows_request(url, "https://a.example/") for each in policies) is is_allowed


@pytest.mark.parametrize(
    ("policy", "url", "nonce", "is_allowed"),
    [
        ("script-src 'self'", MODULE, "", True),
        ("script-src 'none'", MODULE, "", False),
        ("script-src 'nonce-x' 'strict-dynamic'", MODULE, "x", True),
        ("script-src 'nonce-x' 'strict-dynamic' 'self'", MODULE, "", False),
        ("script-src 'self'", "", "", False),
        ("script-src 'self' 'unsafe-inline'", "", "", True),
        ("script-src 'unsafe-inline' 'nonce-x'", "", "", False),
        ("script-src 'nonce-x'", "", "x", True),
        ("script-src https://a.example/static/", MODULE, "", True),
        ("script-src https://a.example/media/", MODULE, "", False),
        ("script-src-elem 'none'; script-src 'self'", MODULE, "", False),
        ("style-src 'none'", MODULE, "", True),
    ],
)
def test_scripts_are_allowed_by_their_nonce_or_address(policy: str, url: str, nonce: str, is_allowed: bool) -> None:
    tag = Tag(is_script=True, kind="module" if url else "importmap", url=url, nonce=nonce)
    assert all(each.allows_tag(tag, PAGE) for each in policies_of([policy])) is is_allowed
