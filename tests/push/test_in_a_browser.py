"""Web push in a real browser, under the strictest policy, to a push service on this machine.

A browser of a test has no push service. So the page's subscription is one that the test has made; what the site sends
to its service is decrypted here and given to the browser's service worker, as the service would.
"""

import json
import re
import sqlite3
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.accounts.deployment import OpenPage, open_page
from tests.accounts.site import AccountsSite
from tests.browser.conftest import browser
from tests.browser.steps import wait_until
from tests.push.service import PRIVATE_KEY, PushService, running_service
from tests.servers import ROOT, running

__all__ = ["browser", "open_page"]

pytestmark = pytest.mark.service

PUSH = (ROOT / "docs" / "push.md").read_text()
POLICIES = dict(
    re.findall(
        r"^```python\n# settings\.py: (.*?)\n(.*?)^```",
        (ROOT / "docs" / "content-security-policy.md").read_text(),
        re.S | re.M,
    )
)
[ADDED] = re.findall(r"^```python\n# django-csp\n(.*?)^```", PUSH, re.S | re.M)

SETTINGS = """
from tests.accounts.settings import *
DEBUG = True
"""
SUBSCRIBED = """
  subscription => {
    window.unsubscribed = 0
    const made = { options: {}, toJSON: () => subscription, unsubscribe: async () => ++unsubscribed }
    const given = async () => sessionStorage.subscribed ? made : null
    PushManager.prototype.getSubscription = given
    PushManager.prototype.subscribe = async ({ userVisibleOnly, applicationServerKey }) => {
      if (!userVisibleOnly || applicationServerKey.length !== 65) throw new Error("not as browsers demand it")
      sessionStorage.subscribed = "yes"
      return made
    }
  }
"""
REGISTRATION = "navigator.serviceWorker.getRegistration('/telltale/push/')"
CLICK = """
  async () => {
    const opened = []
    clients.openWindow = async url => opened.push(url) // Only a person's own click may open one.
    const [notification] = await registration.getNotifications()
    const event = new NotificationEvent("notificationclick", { notification })
    const waits = []
    event.waitUntil = promise => waits.push(promise)
    dispatchEvent(event)
    await Promise.all(waits)
    return opened
  }
"""


@pytest.fixture(scope="module")
def service() -> Iterator[PushService]:
    with running_service() as service:
        yield service


@pytest.fixture(scope="module")
def site(service: PushService) -> Iterator[AccountsSite]:
    policy = POLICIES["django-csp"].replace("[..., ", "[*INSTALLED_APPS, ").replace(", ...]", ", *MIDDLEWARE]")
    push = {
        "VAPID_PRIVATE_KEY": PRIVATE_KEY,
        "VAPID_SUBJECT": "mailto:ada@example.com",
        "AFTER_S": 0.5,
        "SERVICES": [service.url],
    }
    files = {"site_settings.py": f"{SETTINGS}{policy}{ADDED}"}
    with running(partial(AccountsSite, files=files, TELLTALE={"PUSH": push})) as started:
        yield started


def test_with_the_tab_closed_the_end_of_a_task_is_a_notification_and_its_click_opens_the_tasks_page(
    site: AccountsSite, service: PushService, open_page: OpenPage
) -> None:
    page, device = open_page(site.url), service.browser()
    page.context.grant_permissions(["notifications"])
    page.context.add_init_script(f"({SUBSCRIBED})({json.dumps(device.subscription)})")
    page.request.post("/sign-in/", form={"key": "7"})
    page.request.post("/start/", headers={"Accept": "application/json"})
    page.goto("/bar/")
    page.locator("task-progress").evaluate("bar => bar.setAttribute('notify', 'always')")
    for is_on in (True, False, True):
        page.get_by_role("button", name="Tell me when it's done").click()
        expect(page.get_by_role("button", name="Tell me when it's done", pressed=is_on)).to_be_visible()
        wait_until(page, lambda: endpoints(site) == ([device.endpoint] if is_on else []))  # noqa: B023 (called at once)

    page.goto("about:blank")
    page.request.post("/release/")
    wait_until(page, lambda: service.to(device) != [])
    [message] = service.to(device)
    assert message["text"] == "Import airports: finished."

    page.goto("/telltale/push/worker.js")  # of the same origin, without elements
    deliver(page, site, message)
    wait_until(page, lambda: notifications(page) != [])
    assert notifications(page) == [["Import airports: finished.", f"telltale-{message['id']}"]]
    [worker] = page.context.service_workers
    [address] = worker.evaluate(CLICK)
    page.goto(address)
    expect(page.locator("task-progress[state=succeeded]")).to_contain_text("Import airports")
    expect(page.locator(".telltale-toast")).to_have_count(0)
    assert notifications(page) == []

    page.goto("about:blank")  # A page that is open would report that its ticket is refused.
    page.request.post("/sign-out/")
    assert endpoints(site) == []
    page.request.post("/sign-in/", form={"key": "8"})
    page.request.post("/start/", headers={"Accept": "application/json"})
    page.request.post("/release/")
    page.goto("/bar/")
    wait_until(page, lambda: page.evaluate("unsubscribed") == 1)
    assert page.evaluate("localStorage.getItem('telltale-notify')") is None


def endpoints(site: AccountsSite) -> list[str]:
    """The browsers that the site knows."""
    with sqlite3.connect(site.directory / "db.sqlite3") as connection:
        return [endpoint for (endpoint,) in connection.execute("SELECT endpoint FROM telltale_pushsubscription")]


def deliver(page: Page, site: AccountsSite, message: dict[str, Any]) -> None:
    """Give the message to the browser's service worker."""
    session, registrations = page.context.new_cdp_session(page), []
    session.on("ServiceWorker.workerRegistrationUpdated", lambda event: registrations.extend(event["registrations"]))
    session.send("ServiceWorker.enable")
    wait_until(page, lambda: registrations != [])
    [registration] = {found["registrationId"] for found in registrations}
    data = {"origin": site.url, "registrationId": registration, "data": json.dumps(message)}
    session.send("ServiceWorker.deliverPushMessage", data)


def notifications(page: Page) -> list[list[str]]:
    """The notifications that the browser shows, with their tags."""
    script = f"{REGISTRATION}.then(it => it.getNotifications()).then(found => found.map(it => [it.title, it.tag]))"
    shown: list[list[str]] = page.evaluate(script)
    return shown
