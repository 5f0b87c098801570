"""docs/content-security-policy.md: under the documented policies, all elements work in a real browser.

Each page of the browser fails its test if the console shows a violation.
"""

import re
from collections.abc import Iterator
from functools import partial

import pytest
from django import VERSION as DJANGO_VERSION
from playwright.sync_api import expect

from tests.accounts.bar import JSON, assert_bar_moves
from tests.accounts.deployment import OpenPage, open_page
from tests.accounts.site import AccountsSite
from tests.browser.conftest import browser
from tests.servers import ROOT, running

__all__ = ["browser", "open_page"]

pytestmark = pytest.mark.service

PAGE = (ROOT / "docs" / "content-security-policy.md").read_text()
BLOCKS = dict(re.findall(r"^```python\n# settings\.py: (.*?)\n(.*?)^```", PAGE, re.S | re.M))
[HEADER] = re.findall(r"^Content-Security-Policy: (.*)$", PAGE, re.M)

SETTINGS = """
from tests.accounts.settings import *
DEBUG = True
ROOT_URLCONF = "site_urls"
"""
URLS = '''
from django.http import HttpResponse
from django.template import engines
from django.urls import path
from tests.accounts.urls import urlpatterns

HEAD = """{% load telltale %}<!doctype html><html lang="en"><head><title>Elements</title>{% telltale %}</head>"""
BODY = "<body><task-tray></task-tray><task-toasts></task-toasts></body></html>"

def elements(request):
    return HttpResponse(engines["django"].from_string(HEAD + BODY).render({}, request))

urlpatterns = [path("elements/", elements), *urlpatterns]
'''


@pytest.fixture(
    scope="module",
    params=[
        "django-csp",
        pytest.param(
            "Django 6", marks=pytest.mark.skipif(DJANGO_VERSION < (6, 0), reason="Django has a policy from 6.0 on")
        ),
    ],
)
def site(request: pytest.FixtureRequest) -> Iterator[AccountsSite]:
    lines = BLOCKS[request.param].replace("[..., ", "[*INSTALLED_APPS, ").replace(", ...]", ", *MIDDLEWARE]")
    files = {"site_settings.py": SETTINGS + lines, "site_urls.py": URLS}
    with running(partial(AccountsSite, files=files)) as started:
        yield started


def directives(policy: str) -> dict[str, set[str]]:
    """The parts of a policy; nonces are all alike."""
    parts = [re.sub(r"'nonce-[^']+'", "'nonce-…'", part).split() for part in policy.split(";")]
    return {name: set(values) for name, *values in parts}


def test_the_documented_settings_make_the_documented_header(site: AccountsSite, open_page: OpenPage) -> None:
    page = open_page(site.url)
    response = page.goto("/elements/")
    assert response is not None
    assert directives(response.headers["content-security-policy"]) == directives(HEADER)


def test_s30_under_the_strictest_policy_bar_tray_toasts_and_buttons_work(
    site: AccountsSite, open_page: OpenPage
) -> None:
    page = open_page(site.url)
    assert_bar_moves(page)

    page.request.post("/start/", headers=JSON)
    page.goto("/elements/")
    page.locator("task-tray button").first.click()
    expect(page.locator("task-tray li").first).to_contain_text("50%")
    page.request.post("/release/")
    expect(page.locator(".telltale-toast").first).to_contain_text("Import airports: finished.")

    url = page.request.post("/start/", headers=JSON).headers["location"]
    page.goto(url)
    element = page.locator("task-progress[connected=live]")
    expect(element).to_have_attribute("state", "running")
    element.get_by_role("button", name="Stop").click()
    expect(element).to_contain_text("Stopping")
    page.request.post("/release/")
    expect(element).to_have_attribute("state", "cancelled")
