"""Pages that listen to a Pusher service, in a real browser with unmodified pusher-js.

The site can hold no connections, so `live` means: by the service. By polls of the site alone, a page is `polling`.
"""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Page, WebSocket, expect

from tests.browser.steps import (
    END_S,
    bar_positions_until_success,
    connection_state,
    upload,
    wait_until,
    wait_until_live,
)
from tests.browser.test_pages import COUNT_TOASTS, toasts_since_load
from tests.pusher.browser.site import PusherSite
from tests.pusher.clients.stand_in import StandIn
from tests.servers import ROOT

pytestmark = [pytest.mark.service, pytest.mark.timeout(300)]

Open = Callable[..., BrowserContext]

PUSHER_JS = ROOT / "tests/pusher/drivers/node_modules"
STOPPED = "Live updates stopped. Reload the page."

QUEUE = """
from telltale import store
from telltale.owners import Owner
from django.contrib.auth import get_user_model
ada = get_user_model().objects.get(username="ada")
task = store.queue(runner="thread", name="tests.nothing", label="Import airports", owner=Owner.of(ada)).task
print(task.pk)
"""
END = """
from telltale import store
from telltale.core.states import State
from telltale.messages import announce
claim = store.claim(task_id="{0}", worker="w1")
announce(store.end(claim.id, claim.attempt, State.SUCCEEDED).envelopes)
"""
NOTIFY = """
import telltale
from django.contrib.auth import get_user_model
telltale.notify(get_user_model().objects.get(username="{0}"), "{1}", level="warning")
"""
PUBLISH = """
import telltale
telltale.publish("project:7", "build.finished", {{"ok": True, "text": "Grüße", "n": {0}}})
"""
FOLLOW = """() => import("telltale").then(({ connect }) => {
  window.events = []
  connect().topic("project:7", event => events.push(event))
})"""


class Wire:
    """What a page sends and receives: the frames of its WebSockets, and its requests."""

    def __init__(self, page: Page) -> None:
        self.sockets: list[str] = []
        self.sent: list[str] = []
        self.received: list[str] = []
        self.answers: list[tuple[int, str]] = []
        page.on("websocket", self._record)
        page.on("response", lambda answer: self.answers.append((answer.status, answer.url)))

    def _record(self, socket: WebSocket) -> None:
        self.sockets.append(socket.url)
        socket.on("framesent", lambda frame: self.sent.append(str(frame)))
        socket.on("framereceived", lambda frame: self.received.append(str(frame)))

    def subscriptions(self) -> list[str]:
        """Return the channels that the page subscribed to, in order."""
        return [name for frame in self.sent for name in re.findall(r'"channel":"([^"]+)"', frame)]

    def is_subscribed(self, prefix: str) -> bool:
        """Whether the service has confirmed a subscription to a channel of which the name begins so."""
        return any("subscription_succeeded" in frame and f'"{prefix}' in frame for frame in self.received)

    @property
    def services(self) -> list[str]:
        """The addresses of the WebSockets to the service."""
        return [url for url in self.sockets if "/app/" in url]

    def statuses(self, path: str) -> list[int]:
        """Return the statuses of the answers to this path so far."""
        return [status for status, url in self.answers if path in url]


def sign_in(page: Page, name: str) -> Page:
    """Sign in on the first page."""
    page.goto("/")
    page.get_by_role("button", name=name).click()
    expect(page.locator(".who strong")).to_have_text(name)
    return page


def keep(page: Page) -> None:
    """Leave a mark that a reload would remove."""
    page.evaluate("window.wasNotReloaded = true")


def is_kept(page: Page) -> bool:
    return bool(page.evaluate("window.wasNotReloaded === true"))


def test_a_bar_moves_to_its_end_by_the_services_events(open_context: Open, airports: bytes) -> None:
    page = open_context().new_page()
    wire = Wire(page)
    upload(page, airports)
    positions = bar_positions_until_success(page)
    assert len(set(positions)) >= 5
    assert positions == sorted(positions)
    assert connection_state(page) == "live"
    assert any('"event":"telltale.update"' in frame for frame in wire.received)
    # The site was read after the subscription, and not for each step.
    assert len(wire.statuses("/telltale/live/")) < len(set(positions))


def test_the_page_of_ones_own_task_subscribes_to_the_visitors_channel_alone(
    open_context: Open, site: PusherSite
) -> None:
    page = sign_in(open_context().new_page(), "Ada")
    task = site.shell(QUEUE)
    wire = Wire(page)
    page.goto(f"/telltale/tasks/{task}/")
    wait_until_live(page)
    site.shell(END.format(task))
    expect(page.locator('task-progress[state="succeeded"]')).to_be_visible(timeout=60_000)
    wait_until(page, lambda: bool(wire.subscriptions()))
    # pusher-js subscribes again when it connects again.
    [channel] = set(wire.subscriptions())
    assert channel.startswith("private-user-")


def test_of_two_tabs_one_shows_the_notice(open_context: Open, site: PusherSite) -> None:
    context = open_context()
    context.add_init_script(COUNT_TOASTS)
    requests: list[tuple[str, str]] = []
    context.on("requestfinished", lambda r: requests.append((r.url.replace("-", ""), r.post_data or "")))
    tabs = [sign_in(context.new_page(), "Ada"), context.new_page()]
    tabs[1].goto("/")
    for tab in tabs:
        wait_until_live(tab)
    text = "The report of two tabs is ready."  # Ada's other tasks may have ended meanwhile.
    site.shell(NOTIFY.format("ada", text))
    wait_until(tabs[0], lambda: sum(toasts_since_load(tab, text) for tab in tabs) == 1)
    [(notice_id,)] = site.rows("SELECT id FROM telltale_storednotice WHERE text = ?", text)

    def bodies() -> list[str]:
        return [body for url, body in requests if f"/{notice_id}/take/" in url]

    wait_until(tabs[0], lambda: any("shown" in body for body in bodies()))
    before = len(bodies())
    for tab in tabs:
        tab.reload()
        wait_until_live(tab)
    assert [toasts_since_load(tab, text) for tab in tabs] == [0, 0]
    # The page's own confirmation may be on its way twice; no tab asks for a notice that was shown.
    assert all("shown" in body for body in bodies()[before:])


def test_a_sites_own_event_arrives_as_by_every_other_transport(open_context: Open, site: PusherSite) -> None:
    page = open_context().new_page()
    wire = Wire(page)
    sign_in(page, "Grace")
    page.evaluate(FOLLOW)
    wait_until(page, lambda: wire.is_subscribed("private-project-7"))
    site.shell(PUBLISH.format(1))
    page.wait_for_function("events.length === 1")
    expected = {"topic": "project:7", "name": "build.finished", "data": {"ok": True, "text": "Grüße", "n": 1}}
    assert page.evaluate("events") == [expected]


def test_many_channels_are_signed_by_one_request(open_context: Open, site: PusherSite) -> None:
    site.share_tasks(is_on=True)
    try:
        tasks = [site.shell(QUEUE) for _ in range(3)]
        page = open_context().new_page()
        wire = Wire(page)
        page.goto(f"/shared/?{'&'.join(f'task={task}' for task in tasks)}")
        wait_until_live(page)
        wait_until(page, lambda: len(wire.subscriptions()) == 3)
        assert sorted(wire.subscriptions()) == sorted(f"private-task-{task}" for task in tasks)
        assert wire.statuses("/pusher/auth/") == [200]
    finally:
        site.share_tasks(is_on=False)


def test_a_visitor_who_may_no_longer_follow_a_task_is_refused_and_the_bar_says_so(
    open_context: Open, site: PusherSite, stand_in: StandIn
) -> None:
    task = site.shell(QUEUE)
    site.share_tasks(is_on=True)
    page = open_context().new_page()
    wire = Wire(page)
    page.goto(f"/shared/?task={task}")
    wait_until_live(page)
    site.share_tasks(is_on=False)
    stand_in.stop()
    stand_in.start()
    expect(page.locator("task-progress")).to_contain_text(STOPPED, timeout=60_000)
    assert 403 in wire.statuses("/pusher/auth/")
    assert wire.subscriptions() == [f"private-task-{task}"]


def test_after_a_restart_of_the_service_the_page_shows_what_it_has_missed(
    open_context: Open, site: PusherSite, stand_in: StandIn
) -> None:
    page = sign_in(open_context().new_page(), "Ada")
    task = site.shell(QUEUE)
    page.goto(f"/telltale/tasks/{task}/")
    wait_until_live(page)
    keep(page)
    stand_in.stop()
    expect(page.locator("task-progress[connected]")).to_have_count(0, timeout=60_000)
    site.shell(END.format(task))
    stand_in.start()
    expect(page.locator('task-progress[state="succeeded"]')).to_be_visible(timeout=END_S * 1_000)
    wait_until_live(page)
    assert is_kept(page)


def test_while_the_site_is_down_events_still_arrive(open_context: Open, site: PusherSite) -> None:
    page = sign_in(open_context().new_page(), "Ada")
    task = site.shell(QUEUE)
    page.goto(f"/telltale/tasks/{task}/")
    wait_until_live(page)
    site.stop_web()
    try:
        site.shell(END.format(task))
        expect(page.locator('task-progress[state="succeeded"]')).to_be_visible(timeout=60_000)
        assert connection_state(page) == "live"
    finally:
        site.start_web()


def test_a_page_whose_visitor_has_signed_in_as_another_user_is_not_live_any_more(
    open_context: Open, site_of_short_tickets: PusherSite
) -> None:
    site = site_of_short_tickets
    context = open_context(base_url=site.url)
    page = sign_in(context.new_page(), "Ada")
    page.goto(f"/telltale/tasks/{site.shell(QUEUE)}/")
    wait_until_live(page)
    other = context.new_page()
    other.goto("/")
    other.get_by_role("button", name="Sign out").click()
    sign_in(other, "Grace")
    expect(page.locator("task-progress")).to_contain_text(STOPPED, timeout=60_000)


def test_a_page_that_was_opened_before_its_visitor_signed_in_gets_the_users_notices(
    open_context: Open, site_of_short_tickets: PusherSite
) -> None:
    site = site_of_short_tickets
    context = open_context(base_url=site.url)
    page = context.new_page()
    wire = Wire(page)
    page.goto("/")
    page.get_by_role("button", name="Start the failing import").click()  # gives the visitor a session
    expect(page.locator("task-progress")).to_be_visible()
    page.goto("/")
    wait_until_live(page)
    keep(page)
    other = sign_in(context.new_page(), "Ada")
    wait_until(page, lambda: wire.is_subscribed("private-user-"))
    other.close()  # or it would show the notice
    site.shell(NOTIFY.format("ada", "Hello, Ada."))
    expect(page.locator(".telltale-toast", has_text="Hello, Ada.")).to_be_visible(timeout=60_000)
    assert is_kept(page)


def test_without_pusher_js_the_page_uses_the_other_transports(open_context: Open, airports: bytes) -> None:
    context = open_context()
    context.route("**/pusher.min.js", lambda route: route.abort())
    page = context.new_page()
    wire = Wire(page)
    upload(page, airports)
    wait_until(page, lambda: connection_state(page) == "polling")
    bar_positions_until_success(page)
    assert wire.services == []


@pytest.mark.parametrize("version", ["pusher-js", "pusher-js-7"])
def test_a_page_that_has_loaded_pusher_js_by_itself_uses_that(open_context: Open, version: str) -> None:
    context = open_context()
    context.route("**/pusher.min.js", lambda route: route.abort())
    context.add_init_script(path=PUSHER_JS / version / "dist/web/pusher.min.js")
    page = sign_in(context.new_page(), "Ada")
    wait_until_live(page)


def test_while_the_service_is_down_the_page_uses_the_other_transports(open_context: Open, stand_in: StandIn) -> None:
    stand_in.stop()
    try:
        page = open_context().new_page()
        page.goto("/")
        page.get_by_role("button", name="Start the failing import").click()
        wait_until(page, lambda: connection_state(page) == "polling")
        expect(page.locator('task-progress[state="failed"]')).to_be_visible(timeout=END_S * 1_000)
    finally:
        stand_in.start()
