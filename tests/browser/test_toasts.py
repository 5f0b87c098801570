"""Notices beyond what fits on the page: they wait, and each is told once."""

import subprocess
import sys
from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from demo import run
from tests.browser.test_pages import is_live, until
from tests.demo.site import Site

pytestmark = [pytest.mark.service, pytest.mark.timeout(180)]

SHOWN = "SELECT text FROM telltale_storednotice WHERE shown_at IS NOT NULL AND text LIKE ? ORDER BY created_at"


@pytest.fixture(autouse=True)
def _nothing_waits(site: Site) -> None:
    """What another test has left waiting is out of the way."""
    site.rows("UPDATE telltale_storednotice SET shown_at = 0 WHERE shown_at IS NULL")


def test_notices_beyond_three_wait_and_come_later(site: Site, opens: Callable[..., BrowserContext]) -> None:
    page = signed_in(opens, "Ada")
    takes: list[str] = []
    page.on("request", lambda asked: takes.append(asked.url) if "/take/" in asked.url else None)
    notifies(site, "ada", "First", 5)
    expect(page.locator(".telltale-toast")).to_have_count(3)
    expect(page.locator(".telltale-more")).to_have_text("and 2 more")
    page.wait_for_timeout(3_000)  # long enough for a re-read of the store, which finds the waiting notices again
    assert texts(page) == ["First 1.", "First 2.", "First 3."]
    assert taken(site, "First") == ["First 1.", "First 2.", "First 3."]
    assert len(takes) == 3

    page.locator(".telltale-more").click()  # it opens the tray, and takes nothing from what waits
    expect(page.locator(".telltale-tray-panel")).to_be_visible()
    page.keyboard.press("Escape")
    page.locator(".telltale-toast", has_text="First 2.").get_by_role("button").click()
    expect(page.locator(".telltale-toast", has_text="First 4.")).to_be_visible()
    expect(page.locator(".telltale-more")).to_have_text("and 1 more")
    assert texts(page) == ["First 1.", "First 3.", "First 4."]
    assert taken(site, "First") == [f"First {n}." for n in (1, 2, 3, 4)]

    page.reload()
    expect(page.locator(".telltale-toast")).to_have_text(["First 5.×"])
    until(page, lambda: len(taken(site, "First")) == 5)
    assert len(takes) == 5
    page.reload()
    is_live(page)
    page.wait_for_timeout(500)
    assert texts(page) == []


def test_two_tabs_share_what_waits(site: Site, opens: Callable[..., BrowserContext]) -> None:
    tabs = [signed_in(opens, "Grace")]
    tabs.append(tabs[0].context.new_page())
    tabs[1].goto("/")
    is_live(tabs[1])
    notifies(site, "grace", "Second", 9)
    until(tabs[0], lambda: sum(len(texts(tab)) for tab in tabs) == 6)
    told = [text for tab in tabs for text in texts(tab)]
    assert sorted(told) == taken(site, "Second")
    while len(told) < 9:
        tab = max(tabs, key=lambda tab: len(texts(tab)))
        before = len(taken(site, "Second"))
        tab.get_by_role("button", name="Dismiss").first.click()
        until(tab, lambda before=before: len(taken(site, "Second")) > before)  # type: ignore[misc]
        until(tab, lambda: sum(len(texts(tab)) for tab in tabs) == 6)
        told += [text for tab in tabs for text in texts(tab) if text not in told]
    assert sorted(told) == taken(site, "Second") == [f"Second {n}." for n in range(1, 10)]


def test_without_a_tray_and_more_shows_the_next_ones(site: Site, opens: Callable[..., BrowserContext]) -> None:
    page = signed_in(opens, "Ada")
    page.evaluate("document.querySelector('task-tray').remove()")
    notifies(site, "ada", "Third", 8)
    expect(page.locator(".telltale-more")).to_have_text("and 5 more")
    page.locator(".telltale-more").click()
    expect(page.locator(".telltale-toast")).to_have_count(6)
    expect(page.locator(".telltale-more")).to_have_text("and 2 more")
    assert taken(site, "Third") == [f"Third {n}." for n in range(1, 7)]


def test_an_element_that_takes_the_place_of_another_shows_what_waits(
    site: Site, opens: Callable[..., BrowserContext]
) -> None:
    page = signed_in(opens, "Grace")
    notifies(site, "grace", "Fourth", 5)
    expect(page.locator(".telltale-more")).to_have_text("and 2 more")
    page.evaluate("document.querySelector('task-toasts').replaceWith(document.createElement('task-toasts'))")
    expect(page.locator(".telltale-toast")).to_have_count(2)
    assert texts(page) == ["Fourth 4.", "Fourth 5."]


def signed_in(opens: Callable[..., BrowserContext], name: str) -> Page:
    """The first page, live, of this person."""
    page = opens().new_page()
    page.goto("/")
    page.get_by_role("button", name=name).click()
    expect(page.locator(".who strong")).to_have_text(name)
    is_live(page)
    return page


def notifies(site: Site, username: str, text: str, count: int) -> None:
    """Warnings, which stay until dismissed, numbered from 1."""
    code = f"""
import telltale
from django.contrib.auth import get_user_model
user = get_user_model().objects.get(username={username!r})
for n in range(1, {count + 1}):
    telltale.notify(user, f"{text} {{n}}.", level="warning")
"""
    command = [sys.executable, "-m", "demo.manage", "shell", "-c", code]
    subprocess.run(command, env=site.environment, cwd=run.ROOT, check=True)


def texts(page: Page) -> list[str]:
    """The toasts that are there."""
    return page.locator(".telltale-toast p").all_inner_texts()


def taken(site: Site, text: str) -> list[str]:
    """Which of these notices the database has as shown, oldest first."""
    return [row[0] for row in site.rows(SHOWN, f"{text} %")]
