"""Notices for which there is no room: they wait, and each is shown once."""

import subprocess
import sys
from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Page, Request, expect

from demo import run
from tests.browser.steps import sign_in, wait_until, wait_until_live
from tests.browser.test_pages import BAR_OF_TIME
from tests.demo.site import Site

pytestmark = pytest.mark.service

TAKEN = "SELECT text FROM telltale_storednotice WHERE shown_at IS NOT NULL AND text LIKE ? ORDER BY created_at"


@pytest.fixture(autouse=True)
def _no_other_notices(site: Site) -> None:
    """Mark the notices that other tests left waiting as shown."""
    site.rows("UPDATE telltale_storednotice SET shown_at = 0 WHERE shown_at IS NULL")


def test_of_five_notices_two_wait_and_are_shown_later(site: Site, open_context: Callable[..., BrowserContext]) -> None:
    page = signed_in(open_context, "Ada")
    takes: list[str] = []
    page.on("request", lambda request: takes.append(request.url) if is_take(request) else None)
    notify(site, "ada", "First", 5)
    expect(page.locator(".telltale-toast")).to_have_count(3)
    expect(page.locator(".telltale-more")).to_have_text("and 2 more")
    page.wait_for_timeout(3_000)  # long enough for the server to read the waiting notices from the store again
    assert toasts(page) == ["First 1.", "First 2.", "First 3."]
    wait_until_taken(page, site, "First", 1, 2, 3)
    assert len(takes) == 3

    page.locator(".telltale-toast", has_text="First 2.").get_by_role("button").click()
    expect(page.locator(".telltale-toast", has_text="First 4.")).to_be_visible()
    expect(page.locator(".telltale-more")).to_have_text("and 1 more")
    assert toasts(page) == ["First 1.", "First 3.", "First 4."]
    wait_until_taken(page, site, "First", 1, 2, 3, 4)

    page.reload()
    expect(page.locator(".telltale-toast")).to_have_text(["First 5.×"])
    wait_until_taken(page, site, "First", 1, 2, 3, 4, 5)
    assert len(takes) == 5
    page.reload()
    wait_until_live(page)
    page.wait_for_timeout(500)
    assert toasts(page) == []


def test_two_tabs_show_each_waiting_notice_once(site: Site, open_context: Callable[..., BrowserContext]) -> None:
    tabs = [signed_in(open_context, "Grace")]
    tabs.append(tabs[0].context.new_page())
    tabs[1].goto("/")
    wait_until_live(tabs[1])
    notify(site, "grace", "Second", 9)
    wait_until(tabs[0], lambda: sum(len(toasts(tab)) for tab in tabs) == 6)
    shown = [text for tab in tabs for text in toasts(tab)]
    wait_until(tabs[0], lambda: sorted(shown) == taken(site, "Second"))
    while len(shown) < 9:
        tab = max(tabs, key=lambda tab: len(toasts(tab)))
        before = len(taken(site, "Second"))
        tab.get_by_role("button", name="Dismiss").first.click()
        wait_until(tab, lambda before=before: len(taken(site, "Second")) > before)  # type: ignore[misc]
        wait_until(tab, lambda: sum(len(toasts(tab)) for tab in tabs) == 6)
        shown += [text for tab in tabs for text in toasts(tab) if text not in shown]
    assert sorted(shown) == taken(site, "Second") == [f"Second {n}." for n in range(1, 10)]


def test_and_2_more_leads_to_the_list_of_messages_which_stay_readable(
    site: Site, open_context: Callable[..., BrowserContext]
) -> None:
    page = signed_in(open_context, "Ada")
    notify(site, "ada", "Third", 5)
    expect(page.locator(".telltale-more")).to_have_text("and 2 more")
    wait_until_taken(page, site, "Third", 1, 2, 3)  # what was painted, and nothing else

    page.locator(".telltale-more").click()
    expect(page.get_by_role("heading", name="Your messages")).to_be_visible()
    newest = [f"Third {n}." for n in (5, 4, 3, 2, 1)]
    assert messages(page)[:5] == newest
    assert [row for row in messages(page, ".telltale-message:has(.telltale-new)") if row in newest] == newest[:2]
    wait_until_taken(page, site, "Third", 1, 2, 3, 4, 5)
    wait_until_live(page)
    assert toasts(page) == []
    page.reload()
    assert messages(page)[:5] == newest
    expect(page.locator(".telltale-new")).to_have_count(0)


def test_a_message_that_arrives_on_the_list_is_added_on_top_and_gets_no_toast(
    site: Site, open_context: Callable[..., BrowserContext]
) -> None:
    page = signed_in(open_context, "Grace")
    page.goto("/telltale/messages/")
    wait_until_live(page)
    notify(site, "grace", "Fifth", 2)
    expect(page.locator(".telltale-message p:first-child").first).to_have_text("Fifth 2.")
    assert messages(page)[:2] == ["Fifth 2.", "Fifth 1."]
    expect(page.locator(".telltale-spoken[role=alert]")).to_contain_text("Fifth")
    wait_until_taken(page, site, "Fifth", 1, 2)  # in sight, so seen
    assert toasts(page) == []
    times = page.locator(".telltale-message time").all_inner_texts()
    assert all(times)

    # Out of sight it is a toast as well.
    page.evaluate("document.querySelector('main').style.paddingBlockStart = '300vh'")
    notify(site, "grace", "Sixth", 1)
    expect(page.locator(".telltale-toast")).to_have_text(["Sixth 1.×"])
    assert messages(page)[:2] == ["Sixth 1.", "Fifth 2."]
    page.evaluate("document.querySelector('.telltale-messages').replaceChildren()")  # as a morph may
    expect(page.locator(".telltale-message p:first-child")).to_have_text(["Sixth 1.", "Fifth 2.", "Fifth 1."])


def test_an_element_that_replaces_another_shows_its_toasts_on_and_the_waiting_notices_after_them(
    site: Site, open_context: Callable[..., BrowserContext]
) -> None:
    page = signed_in(open_context, "Grace")
    notify(site, "grace", "Fourth", 5)
    expect(page.locator(".telltale-more")).to_have_text("and 2 more")
    page.evaluate("document.querySelector('task-toasts').replaceWith(document.createElement('task-toasts'))")
    expect(page.locator(".telltale-more")).to_have_text("and 2 more")
    assert toasts(page) == ["Fourth 1.", "Fourth 2.", "Fourth 3."]
    for _ in range(3):
        page.get_by_role("button", name="Dismiss").first.click()
    expect(page.locator(".telltale-toast")).to_have_text(["Fourth 4.×", "Fourth 5.×"])


def test_a_toast_that_is_dismissed_by_keyboard_returns_the_focus_to_where_it_was(
    site: Site, open_context: Callable[..., BrowserContext]
) -> None:
    page = signed_in(open_context, "Ada")
    notify(site, "ada", "Fifth", 3)
    dismiss = page.locator(".telltale-toast").get_by_role("button")
    expect(dismiss).to_have_count(3)
    before = page.get_by_role("button", name="Sign out")
    before.focus()
    page.keyboard.press("F6")
    expect(dismiss.first).to_be_focused()
    page.keyboard.press("Escape")
    expect(dismiss).to_have_count(2)
    expect(before).to_be_focused()
    page.keyboard.press("F6")
    page.keyboard.press("Enter")  # on the button of the toast: the focus moves on to the next one
    expect(dismiss).to_have_count(1)
    expect(dismiss).to_be_focused()
    page.keyboard.press("Enter")
    expect(dismiss).to_have_count(0)
    expect(before).to_be_focused()


def test_more_toasts_by_keyboard_on_the_list_of_messages_keep_the_focus(
    site: Site, open_context: Callable[..., BrowserContext]
) -> None:
    page = signed_in(open_context, "Grace")
    page.goto("/telltale/messages/")
    wait_until_live(page)
    page.evaluate("document.querySelector('main').style.paddingBlockStart = '300vh'")  # no message is in sight
    notify(site, "grace", "Seventh", 8)
    more = page.locator(".telltale-more")
    expect(more).to_have_text("and 5 more")
    more.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".telltale-toast")).to_have_count(6)
    expect(more).to_have_text("and 2 more")
    expect(more).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".telltale-toast")).to_have_count(8)
    expect(more).to_be_hidden()
    expect(page.locator(".telltale-toast").nth(6).get_by_role("button", name="Dismiss")).to_be_focused()


def test_good_news_below_the_trays_panel_stays_until_it_was_seen(
    site: Site, open_context: Callable[..., BrowserContext]
) -> None:
    page = signed_in(open_context, "Grace")
    page.set_viewport_size({"width": 360, "height": 700})
    notify(site, "grace", "Covered", 1, level="success")
    toast = page.locator(".telltale-toast")
    expect(toast).to_have_count(1)
    page.locator(".telltale-tray-button").click()
    panel = page.locator(".telltale-tray-panel")
    expect(panel).to_be_visible()
    panel.evaluate("it => it.style.blockSize = '70vh'")  # as with many tasks
    page.wait_for_timeout(8_000)
    expect(toast).to_have_count(1)
    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()
    expect(toast).to_be_in_viewport()
    expect(toast).to_have_count(0)


RECORD_NOTIFICATIONS = """
  window.Notification = class extends Notification {
    constructor(text, options) {
      super(text, options)
      localStorage.setItem(`test notification ${Math.random()}`, text)
    }
  }
"""
NOTIFICATIONS = """
  Object.keys(localStorage).filter(key => key.startsWith("test notification")).map(key => localStorage[key])
"""
HIDE = """
  isHidden => {
    Object.defineProperty(document, "hidden", { configurable: true, get: () => isHidden })
    document.dispatchEvent(new Event("visibilitychange"))
  }
"""


def test_tell_me_when_its_done_shows_each_notice_once_while_all_pages_are_hidden_and_no_toast_after_that(
    site: Site, open_context: Callable[..., BrowserContext]
) -> None:
    page = signed_in(open_context, "Ada")
    context = page.context
    context.add_init_script(RECORD_NOTIFICATIONS)
    page.reload()
    page.evaluate(BAR_OF_TIME)
    button = page.get_by_role("button", name="Tell me when it's done")
    expect(page.locator("task-progress").first).to_contain_text("Import all")
    expect(button).to_have_count(0)  # This browser has no way to notify yet: it would refuse.
    context.grant_permissions(["notifications"])
    tabs = [page, context.new_page()]
    for tab in tabs:
        tab.goto("/")
        tab.evaluate(BAR_OF_TIME)
        wait_until_live(tab)
    button.focus()
    page.keyboard.press("Enter")
    for tab in tabs:
        expect(tab.get_by_role("button", name="Tell me when it's done", pressed=True)).to_be_visible()
    expect(page.locator(".telltale-spoken[role=status]")).to_contain_text("This browser will notify you.")

    for tab in tabs:
        tab.evaluate(HIDE, True)
    notify(site, "ada", "Done", 2)
    wait_until_taken(page, site, "Done", 1, 2)
    assert sorted(page.evaluate(NOTIFICATIONS)) == ["Done 1.", "Done 2."]
    tabs[1].evaluate(HIDE, False)
    notify(site, "ada", "Seen", 1)  # One page is in sight.
    wait_until(page, lambda: toasts(tabs[1]) == ["Seen 1."])
    wait_until_taken(page, site, "Seen", 1)
    assert len(page.evaluate(NOTIFICATIONS)) == 2

    tabs[1].get_by_role("button", name="Tell me when it's done").click()
    expect(page.get_by_role("button", name="Tell me when it's done", pressed=False)).to_be_visible()


def signed_in(open_context: Callable[..., BrowserContext], name: str) -> Page:
    """Return the first page, live, with this user signed in."""
    page = open_context().new_page()
    sign_in(page, name)
    return page


def notify(site: Site, username: str, text: str, count: int, level: str = "warning") -> None:
    """Send `count` notices, numbered from 1. Warnings stay until dismissed."""
    code = f"""
import telltale
from django.contrib.auth import get_user_model
user = get_user_model().objects.get(username={username!r})
for n in range(1, {count + 1}):
    telltale.notify(user, f"{text} {{n}}.", level={level!r})
"""
    command = [sys.executable, "-m", "demo.manage", "shell", "-c", code]
    subprocess.run(command, env=site.environment, cwd=run.ROOT, check=True)


def is_take(request: Request) -> bool:
    """Whether the page asks whether it may show a notice; when it has shown it, it sends another request."""
    return "/take/" in request.url and "shown" not in (request.post_data or "")


def toasts(page: Page) -> list[str]:
    """Return the texts of the toasts that the page shows."""
    return page.locator(".telltale-toast p").all_inner_texts()


def messages(page: Page, selector: str = ".telltale-message") -> list[str]:
    """Return the texts of the messages that the page lists."""
    return page.locator(f"{selector} > p:first-child").all_inner_texts()


def wait_until_taken(page: Page, site: Site, text: str, *numbers: int) -> None:
    """Wait until just these notices are stored as shown: a page confirms a toast after it has painted it."""
    expected = [f"{text} {n}." for n in numbers]
    wait_until(page, lambda: taken(site, text) == expected)


def taken(site: Site, text: str) -> list[str]:
    """Return the texts of these notices that are stored as shown, oldest first."""
    return [row[0] for row in site.rows(TAKEN, f"{text} %")]
