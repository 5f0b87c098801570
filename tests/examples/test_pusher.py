"""The example with Pusher's own libraries in a real browser, with its server and worker as `run.py` starts them."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from tests.examples.example_site import PUSHER, ExampleSite

pytestmark = pytest.mark.service

PATIENCE_MS = 40_000


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ExampleSite]:
    with ExampleSite(tmp_path_factory.mktemp("pusher"), PUSHER) as example:
        yield example


@pytest.fixture
def sign_in(open_context: Callable[..., BrowserContext]) -> Callable[[str], Page]:
    """Return the page in a browser of its own, with this user signed in and pusher-js connected."""

    def signed_in(name: str) -> Page:
        page = open_context().new_page()
        page.goto("/")
        page.get_by_role("button", name=name).click()
        expect_connected(page)
        return page

    return signed_in


def expect_connected(page: Page) -> None:
    expect(page.locator("#connection")).to_have_text("Connected", timeout=PATIENCE_MS)


def toast(page: Page, text: str) -> Locator:
    return page.locator(".toast", has_text=text)


def build_report(page: Page) -> None:
    page.get_by_role("button", name="Build the report").click()


def test_a_background_task_says_done_by_pushers_libraries_and_the_page_shows_a_toast(
    sign_in: Callable[[str], Page],
) -> None:
    page = sign_in("Ada")
    build_report(page)
    expect(toast(page, "The report has begun.")).to_be_visible()
    expect(toast(page, "20 of 40 pages")).to_be_visible(timeout=PATIENCE_MS)
    expect(toast(page, "Your report is ready.")).to_be_visible(timeout=PATIENCE_MS)


def test_all_tabs_of_the_user_hear_it_and_no_other_user_does(sign_in: Callable[[str], Page]) -> None:
    page, stranger = sign_in("Ada"), sign_in("Grace")
    other = page.context.new_page()
    other.goto("/")
    expect_connected(other)
    build_report(page)
    expect(toast(other, "Your report is ready.").first).to_be_visible(timeout=PATIENCE_MS)
    expect(stranger.locator(".toast")).to_have_count(0)


def test_a_restarted_example_has_forgotten_its_users_and_the_page_says_so(
    sign_in: Callable[[str], Page], site: ExampleSite
) -> None:
    page = sign_in("Ada")
    site.stop()
    expect(page.locator("#connection")).to_have_text("Connecting…", timeout=PATIENCE_MS)
    site.start()
    expect(page.locator("#connection")).to_have_text("Not allowed. Sign in again.", timeout=PATIENCE_MS)


def test_ctrl_c_ends_the_example_and_leaves_nothing(tmp_path) -> None:
    with ExampleSite(tmp_path, PUSHER) as example:
        pids = example.processes()
        assert len(pids) == 2
        assert example.stop() == 0
        assert list(example.directory.iterdir()) == []
