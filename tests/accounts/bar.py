"""A bar on the site's page, in a real browser."""

import re

from playwright.sync_api import Page, expect

JSON = {"Accept": "application/json"}


def assert_bar_moves(page: Page, path: str = "/", *, bar_path: str = "bar/", is_live: bool = True) -> None:
    """Start a task and see its bar move to the end without a reload. `path`: of the site, `bar_path`: within it.

    `is_live`: whether the server holds the page's connection; else the page polls.
    """
    page.request.post(f"{path}start/", headers=JSON)
    page.goto(path + bar_path)
    page.evaluate("window.wasNotReloaded = true")
    element = page.locator(f"task-progress[connected={'live' if is_live else 'polling'}]")
    bar = element.locator("progress")
    expect(bar).to_have_attribute("value", re.compile("0.5"))
    page.request.post(f"{path}release/")
    expect(element).to_have_attribute("state", "succeeded")
    assert bar.evaluate("bar => bar.position") == 1
    assert page.evaluate("window.wasNotReloaded") is True
