"""What the tests do in a page, and what they read from it."""

import time
from collections.abc import Callable

from playwright.sync_api import Page, expect

END_S = 200
"""How long an import may take on a busy machine."""


def upload(page: Page, content: bytes) -> None:
    """Start an import on the first page; end on the task's page."""
    page.goto("/")
    page.locator("#file").set_input_files({"name": "airports.csv", "mimeType": "text/csv", "buffer": content})
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.locator("task-progress")).to_contain_text("Import airports.csv")


def sign_in(page: Page, name: str) -> None:
    """Sign in on the first page, and wait until it is live."""
    page.goto("/")
    page.get_by_role("button", name=name).click()
    expect(page.locator(".who strong")).to_have_text(name)
    wait_until_live(page)


def bar_position(page: Page) -> float:
    """Return how full the first bar is, 0 to 1; 0 if unknown."""
    position = page.locator("task-progress progress").first.evaluate("bar => bar.position")
    return max(0.0, float(position))


def bar_positions_until_success(page: Page) -> list[float]:
    """Return all positions of the bar until the task has succeeded; the last is of the moment of success."""
    positions, deadline = [bar_position(page)], time.monotonic() + END_S
    element = page.locator("task-progress").first
    while True:
        assert time.monotonic() < deadline, element.inner_text()
        state, position = element.evaluate("it => [it.getAttribute('state'), it.querySelector('progress').position]")
        positions.append(max(0.0, position))
        if state == "succeeded":
            return positions
        time.sleep(0.05)


def wait_until(page: Page, condition: Callable[[], bool]) -> None:
    """Wait with Playwright's own timer, so that the page's events are handled meanwhile."""
    deadline = time.monotonic() + END_S
    while not condition():
        assert time.monotonic() < deadline
        page.wait_for_timeout(50)


def wait_until_moving(page: Page) -> None:
    wait_until(page, lambda: bar_position(page) >= 0.15)


def connection_state(page: Page) -> str:
    """Return the state of the page's connection."""
    return str(page.evaluate("import('telltale').then(({ connect }) => connect().state)"))


def wait_until_live(page: Page) -> None:
    # Not by `wait_for_function`, for which a promise is true before it is fulfilled.
    try:
        wait_until(page, lambda: connection_state(page) == "live")
    except AssertionError as error:
        raise AssertionError(f"The connection of {page.url} is {connection_state(page)}, not live.") from error
