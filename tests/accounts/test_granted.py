"""What a page may follow, and what it gives up, in a real browser: bars that are inserted, sign-ins and sign-outs."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from telltale.pages.catalogue import MESSAGES
from tests.accounts.site import AccountsSite
from tests.browser.conftest import browser
from tests.servers import running

__all__ = ["browser"]

pytestmark = pytest.mark.service

SETTINGS = """
from tests.accounts.settings import *
ROOT_URLCONF = "site_urls"
DEBUG = True
TELLTALE |= {"CAN_FOLLOW": "rules.can_follow", "TICKET_S": 6, "BEAT_S": 1, "STALLED_S": 5, "RECHECK_S": 1}
"""
RULES = """
from uuid import UUID
from telltale.models import TaskState

def can_follow(request, topic):
    kind, _, name = topic.partition(":")
    return kind == "public" or kind == "task" and TaskState.objects.filter(pk=UUID(name), label="Shared").exists()
"""
URLS = """
from django.http import JsonResponse
from django.urls import path
from telltale import store
from telltale.live import driver
from telltale.owners import Owner
from tests.accounts.urls import urlpatterns

def others(request, label, count):
    queued = (store.queue(runner="thread", name="x", label=label, owner=Owner()) for _ in range(count))
    return JsonResponse([str(new.task.pk) for new in queued], safe=False)

def followed(request):
    [site_driver] = driver._drivers.values()
    return JsonResponse(sorted(site_driver.hub.topics), safe=False)

urlpatterns += [path("others/<str:label>/<int:count>/", others), path("followed/", followed)]
"""

INSERT = """async path => {
  const response = await fetch(path, { method: "POST", headers: { "HX-Request": "true", Accept: "*/*" } })
  const template = document.createElement("template")
  template.innerHTML = await response.text()
  document.body.append(template.content)
}"""
ONE_AFTER_ANOTHER = """async ids => {
  let shown = 0
  for (const id of ids) {
    const bar = document.createElement("task-progress")
    bar.setAttribute("task", id)
    const changed = new Promise(resolve => bar.addEventListener("telltale:change", resolve))
    document.body.append(bar)
    await changed
    if (bar.getAttribute("state") === "queued" && bar.getAttribute("connected") === "live") shown += 1
    bar.remove()
  }
  return shown
}"""


@pytest.fixture(scope="module")
def site() -> Iterator[AccountsSite]:
    files = {"site_settings.py": SETTINGS, "rules.py": RULES, "site_urls.py": URLS}
    with running(lambda directory: AccountsSite(directory, files=files)) as started:
        yield started


@pytest.fixture
def open_page(browser: Browser, site: AccountsSite) -> Iterator[Callable[[], Page]]:
    """Each call opens the site's page for a visitor without cookies."""
    pages: list[Page] = []

    def open_one() -> Page:
        pages.append(browser.new_context(base_url=site.url).new_page())
        pages[-1].goto("/")
        return pages[-1]

    yield open_one
    for page in pages:
        page.context.close()


def sign_in(page: Page, key: int) -> None:
    """Sign in by a request of the page's script, as soft navigation does."""
    page.evaluate("key => fetch('/sign-in/', { method: 'POST', body: new URLSearchParams({ key }) })", str(key))


def start(page: Page) -> Locator:
    """Start a task by a request of the page's script, and insert its bar."""
    page.evaluate(INSERT, "/start/")
    return page.locator("task-progress")


def assert_live_to_the_end(page: Page, bar: Locator) -> None:
    expect(bar).to_have_attribute("connected", "live")
    expect(bar.locator("progress")).to_have_attribute("value", "0.5")
    page.request.post("/release/")
    expect(bar).to_have_attribute("state", "succeeded")
    expect(bar).to_contain_text(MESSAGES["succeeded"])


def test_the_first_task_of_an_anonymous_visitor_is_live_to_its_end_when_its_bar_is_inserted(
    open_page: Callable[[], Page],
) -> None:
    page = open_page()
    assert_live_to_the_end(page, start(page))


def test_after_a_sign_in_without_a_new_page_the_first_task_is_live_to_its_end(open_page: Callable[[], Page]) -> None:
    page = open_page()
    start(page)
    expect(page.locator("task-progress")).to_have_attribute("connected", "live")
    sign_in(page, 7)
    page.evaluate("document.querySelector('task-progress').remove()")
    assert_live_to_the_end(page, start(page))


def test_f57_signed_out_in_another_tab_a_page_that_follows_a_shared_topic_says_so_and_not_that_the_task_is_lost(
    open_page: Callable[[], Page],
) -> None:
    page = open_page()
    sign_in(page, 8)
    page.reload()
    bar = start(page)
    page.evaluate("import('telltale').then(({ connect }) => { connect().topic('public:news', () => {}) })")
    expect(bar).to_have_attribute("connected", "live")
    page.context.new_page().request.post("/sign-out/")
    expect(bar.locator(".telltale-line")).to_have_text(MESSAGES["not_followed"])
    page.wait_for_function("import('telltale').then(({ connect }) => connect().state === 'live')")
    expect(bar).not_to_have_attribute("connected", "live")
    # The others' time goes on; the bar's does not, so it can't look lost.
    isLater = "async id => { const live = (await import('telltale')).connect(); return live.now > live.nowOf(id) + 8 }"
    wait_for(page, isLater, str(bar.get_attribute("task")))
    expect(bar).to_have_attribute("health", "ok")
    page.request.post("/release/")


def wait_for(page: Page, function: str, argument: str) -> None:
    for _ in range(300):
        if page.evaluate(function, argument):
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"Waited in vain for {function}")


def test_a_bar_whose_task_the_page_may_not_follow_says_so_while_others_are_live(open_page: Callable[[], Page]) -> None:
    page = open_page()
    [refused] = page.request.get("/others/Secret/1/").json()
    [shared] = page.request.get("/others/Shared/1/").json()
    for task in (refused, shared):
        page.evaluate("id => { document.body.insertAdjacentHTML('beforeend', `<task-progress task=${id}>`) }", task)
    line = page.locator(f"task-progress[task='{refused}'] .telltale-line")
    expect(line).to_have_text(MESSAGES["not_followed"])
    expect(page.locator(f"task-progress[task='{shared}']")).to_have_attribute("connected", "live")
    expect(page.locator(f"task-progress[task='{refused}']")).not_to_have_attribute("connected", "live")


def test_a_page_that_shows_fifty_tasks_one_after_another_follows_none_of_them_in_the_end(
    open_page: Callable[[], Page],
) -> None:
    page = open_page()
    page.evaluate("import('telltale').then(({ connect }) => { connect().topic('public:news', () => {}) })")
    ids = page.request.get("/others/Shared/50/").json()
    assert page.evaluate(ONE_AFTER_ANOTHER, ids) == 50
    wait_for(page, "async path => (await (await fetch(path)).json()).join() === 'public:news'", "/followed/")
    assert page.evaluate("import('telltale').then(({ connect }) => connect().state)") == "live"
