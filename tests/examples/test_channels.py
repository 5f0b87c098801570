"""The example with Django Channels in a real browser: daphne, Redis and both workers as `run.py` starts them."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from tests.browser.steps import bar_position, bar_positions_until_success, wait_until
from tests.demo.site import is_alive
from tests.examples.example_site import CHANNELS, ExampleSite
from tests.servers import free_port

pytestmark = pytest.mark.service

PATIENCE_MS = 40_000
"""How long a report may take on a busy machine, and a killed worker until it is lost."""

RECORD_ORDER = """
const Original = WebSocket
window.WebSocket = class extends Original {
  constructor(...parameters) {
    super(...parameters)
    this.addEventListener("open", () => { window.openedBeforePageScript = this.onopen === null })
  }
}
"""
"""Records in each page whether its socket opened before `page.js` had run."""

RECORD_SHARE = """
addEventListener("DOMContentLoaded", () => { window.shareAtLoad = document.querySelector("#bar")?.value })
"""
"""Records how full the bar is before any message has come."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ExampleSite]:
    with ExampleSite(tmp_path_factory.mktemp("channels")) as example:
        yield example


@pytest.fixture
def sign_in(open_context: Callable[..., BrowserContext]) -> Callable[[str], Page]:
    """Return the first page in a browser of its own, with this user signed in."""

    def signed_in(name: str) -> Page:
        page = open_context().new_page()
        page.goto("/")
        page.get_by_role("button", name=name).click()
        expect(page.locator(".person strong")).to_have_text(name)
        return page

    return signed_in


def begin_by_hand(page: Page) -> None:
    page.goto("/")
    page.get_by_role("button", name="New report by hand").click()
    page.get_by_role("button", name="Build the report").click()
    expect(toast(page, "The report has begun.")).to_be_visible(timeout=PATIENCE_MS)


def begin_with_telltale(page: Page) -> None:
    page.goto("/")
    page.get_by_role("button", name="New report with Telltale").click()
    expect(page.locator("task-progress")).to_contain_text("Build the report")


def toast(page: Page, text: str) -> Locator:
    """Return the toast with that text, made by the page's own script."""
    return page.locator(".toast", has_text=text)


def share_by_hand(page: Page) -> float:
    return float(page.locator("#bar").evaluate("bar => bar.value"))


def test_by_hand_the_status_and_the_end_come_as_toasts(sign_in: Callable[[str], Page]) -> None:
    page = sign_in("Ada")
    begin_by_hand(page)
    expect(toast(page, "20 of 40 pages")).to_be_visible(timeout=PATIENCE_MS)
    assert share_by_hand(page) >= 0.5
    expect(toast(page, "Your report is ready.").first).to_be_visible(timeout=PATIENCE_MS)
    # An earlier test's report may end meanwhile: its end goes to all pages of the same user.
    wait_until(page, lambda: share_by_hand(page) == 1)


def test_by_hand_the_end_reaches_the_users_other_pages(sign_in: Callable[[str], Page]) -> None:
    page = sign_in("Ada")
    other, stranger = page.context.new_page(), sign_in("Grace")
    for another in (other, stranger):
        another.goto("/")
        another.get_by_role("button", name="New report by hand").click()
        expect(another.locator("#connection")).to_have_text("Connected")
    begin_by_hand(page)
    expect(toast(other, "Your report is ready.")).to_be_visible(timeout=PATIENCE_MS)
    expect(toast(other, "of 40 pages")).to_have_count(0)
    expect(stranger.locator(".toast")).to_have_count(0)


def test_by_hand_any_user_with_the_address_sees_the_status_and_a_reload_empties_the_bar(
    sign_in: Callable[[str], Page],
) -> None:
    page, stranger = sign_in("Ada"), sign_in("Grace")
    page.context.add_init_script(RECORD_SHARE)
    begin_by_hand(page)
    stranger.goto(page.url)
    expect(toast(stranger, "0 of 40 pages").first).to_be_visible(timeout=PATIENCE_MS)
    wait_until(page, lambda: share_by_hand(page) > 0)
    page.reload()
    assert page.evaluate("shareAtLoad") == 0


def test_by_hand_a_socket_that_opened_before_the_script_is_noticed(sign_in: Callable[[str], Page]) -> None:
    page = sign_in("Ada")
    page.context.add_init_script(RECORD_ORDER)
    page.route("**/page.js", lambda route: (time.sleep(4), route.continue_()))
    begin_by_hand(page)
    assert page.evaluate("openedBeforePageScript") is True
    expect(page.locator("#connection")).to_have_text("Connected")


def test_by_hand_an_anonymous_visitor_gets_no_socket(open_context: Callable[..., BrowserContext]) -> None:
    page = open_context().new_page()
    page.goto("/")
    code = page.evaluate(
        """() => new Promise(resolve => {
          const path = "/ws/by-hand/00000000-0000-0000-0000-000000000000/"
          new WebSocket(`ws://${location.host}${path}`).onclose = event => resolve(event.code)
        })"""
    )
    assert code == 1006


def test_with_telltale_the_bar_survives_a_reload_and_never_goes_back(sign_in: Callable[[str], Page]) -> None:
    page = sign_in("Ada")
    begin_with_telltale(page)
    wait_until(page, lambda: bar_position(page) >= 0.6)
    page.reload()
    # The server renders the last saved value, which is at most two seconds old, before any message.
    assert bar_position(page) > 0
    positions = bar_positions_until_success(page)
    assert positions == sorted(positions)


def test_with_telltale_the_end_comes_as_a_toast_on_any_page_of_the_user(sign_in: Callable[[str], Page]) -> None:
    page = sign_in("Ada")
    begin_with_telltale(page)
    page.goto("/")
    expect(page.locator(".telltale-toast")).to_contain_text("Build the report: finished.", timeout=PATIENCE_MS)


def test_another_user_sees_nothing_of_the_task(sign_in: Callable[[str], Page]) -> None:
    page, stranger = sign_in("Ada"), sign_in("Grace")
    begin_with_telltale(page)
    response = stranger.goto(page.url)
    assert response is not None
    assert response.status == 404
    stranger.goto(page.url + "own-socket/")
    own = page.context.new_page()
    own.goto(page.url + "own-socket/")
    bar_positions_until_success(page)
    wait_until(own, lambda: share_by_hand(own) == 1)
    assert share_by_hand(stranger) == 0
    expect(stranger.locator(".toast")).to_have_count(0)


def test_the_projects_own_socket_shows_the_followed_task(sign_in: Callable[[str], Page]) -> None:
    page = sign_in("Ada")
    begin_with_telltale(page)
    page.get_by_role("link", name="own socket").click()
    wait_until(page, lambda: 0 < share_by_hand(page) < 1)
    page.reload()
    # The newest snapshot comes first, whatever was sent before the page was open.
    wait_until(page, lambda: share_by_hand(page) > 0)
    wait_until(page, lambda: share_by_hand(page) == 1)
    expect(toast(page, "Build the report")).to_be_visible(timeout=PATIENCE_MS)


def test_a_message_to_a_group_of_the_project_is_relayed_to_telltales_pages(sign_in: Callable[[str], Page]) -> None:
    page, stranger = sign_in("Ada"), sign_in("Grace")
    begin_with_telltale(page)
    begin_with_telltale(stranger)
    begin_by_hand(page.context.new_page())
    expect(page.locator("#news")).to_have_text("By hand: Your report is ready.", timeout=PATIENCE_MS)
    expect(stranger.locator("#news")).to_be_empty()


def test_killed_workers_are_shown_with_telltale_and_not_by_hand(sign_in: Callable[[str], Page]) -> None:
    by_hand = sign_in("Ada")
    page = by_hand.context.new_page()
    begin_by_hand(by_hand)
    begin_with_telltale(page)
    wait_until(page, lambda: bar_position(page) >= 0.1)
    page.get_by_role("button", name="Kill the workers").click()
    expect(page.locator("task-progress")).to_contain_text("Lost contact with the worker", timeout=PATIENCE_MS)
    expect(page.locator("task-progress")).to_have_attribute("state", "lost", timeout=PATIENCE_MS)
    assert share_by_hand(by_hand) < 1
    expect(by_hand.locator("#connection")).to_have_text("Connected")

    page.get_by_role("button", name="Try again").click()
    bar_positions_until_success(page)
    expect(toast(by_hand, "ready")).to_have_count(0)


def test_the_stopped_example_leaves_no_process_and_no_file(tmp_path: Path) -> None:
    with ExampleSite(tmp_path) as example:
        processes = example.processes()
        assert len(processes) == 4
        assert list(example.directory.iterdir()) != []
        assert example.stop() == 0
    assert not [pid for pid in processes if is_alive(pid)]
    assert list(example.directory.iterdir()) == []
    assert not re.search("Traceback|Error", example.log.read_text())


@pytest.mark.parametrize("port", ["0", "http", "65536"])
def test_a_port_that_cannot_be_used_is_an_error_that_says_so(port: str) -> None:
    command = [sys.executable, "run.py"]
    done = subprocess.run(command, cwd=CHANNELS, env=os.environ | {"PORT": port}, capture_output=True, text=True)
    assert done.returncode == 1
    assert f"PORT is {port}, which is not a free port from 1 to 65535" in done.stdout


def test_a_missing_redis_is_an_error_that_says_so() -> None:
    environment = {"PATH": "/nowhere", "PORT": str(free_port())}
    done = subprocess.run([sys.executable, "run.py"], cwd=CHANNELS, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert "there is no redis-server here. Install it, or set REDIS_URL." in done.stdout
