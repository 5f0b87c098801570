"""Every view behind every wall that Django and django-allauth have: the client tells a refusal from an outage.

The client is the real one, in node. Behind `LoginRequiredMiddleware`, pages work without any change to the site.
"""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from playwright.sync_api import sync_playwright

from tests.accounts.site import AccountsSite, browser, page_data
from tests.browser.conftest import CHROMIUM
from tests.servers import ROOT, running

pytestmark = pytest.mark.service

JSON = {"Accept": "application/json"}
WALL = "django.contrib.auth.middleware.LoginRequiredMiddleware"

WALLS = [
    "login_required",
    "user_passes_test",
    "permission_required",
    "permission_required_or_403",
    "staff_member_required",
    "LoginRequiredMixin",
    "LoginRequiredMixin_or_403",
    "PermissionRequiredMixin",
    "UserPassesTestMixin",
    "allauth verified_email_required",
    "allauth secure_admin_login",
    "allauth reauthentication_required",
]
"""As in `tests.accounts.walls`, which can be imported in a site's process only."""

CLIENT = """
import { ActionRefused, TicketRefused, fetchTicket, submitAction, takeNotice } from "telltale/requests.js"
import { polling } from "telltale/live/polling.js"

const { site, prefix, cookie, csrf, ticket, topics, task } = JSON.parse(process.argv[1])
const plainFetch = globalThis.fetch
globalThis.fetch = (url, options) => {
  const headers = { ...options.headers, ...(options.credentials === "omit" ? {} : { Cookie: cookie }) }
  return plainFetch(new URL(url, site), { ...options, headers })
}
const urls = {
  ticket: `${prefix}ticket/`, live: `${site}${prefix}live/`,
  take: `${prefix}notices/00000000-0000-0000-0000-000000000000/take/`,
}
const page = { urls, csrf: { token: csrf, cookie: null } }
const outcome = (promise, refusal) =>
  promise.then(() => "answered", error => (refusal && error instanceof refusal ? "refused" : `${error}`))

const poll = () => new Promise(resolve => {
  const onMessage = ({ type, again }) => {
    if (type === "poll") resolve("answered")
    if (type === "bye" && again === "never") resolve("refused")
  }
  const options = { url: urls.live, ticket: () => ticket, have: () => ({}), seen: () => [], onMessage }
  polling({ ...options, onEnd: () => resolve("outage") }, { fetch, setTimeout, clearTimeout })
})

const results = {
  ticket: await outcome(fetchTicket(page, topics), TicketRefused),
  cancel: await outcome(submitAction({ action: `${prefix}tasks/${task}/cancel/` }, csrf), ActionRefused),
  take: await outcome(takeNotice({ page, ticket }, "00000000-0000-0000-0000-000000000000", "A")),
  live: await poll(),
}
console.log(JSON.stringify(results))
process.exit()
"""


@pytest.fixture(scope="module", params=["asgi", "wsgi"])
def site(request: pytest.FixtureRequest) -> Iterator[AccountsSite]:
    def make(directory: Path) -> AccountsSite:
        return AccountsSite(directory, server=request.param)

    with running(make) as started:
        yield started


@pytest.fixture
def client(site: AccountsSite) -> Iterator[httpx.Client]:
    with browser(site) as started:
        started.post("/sign-in/", data={"key": "7"})
        yield started


def asked_by_script(client: httpx.Client, prefix: str) -> dict[str, str]:
    """Return the outcome of each request that a page's script makes, with the cookies that the browser has now."""
    task = client.post("/start/", headers=JSON).json()["id"]
    page = page_data(client)
    asked = {
        "site": str(client.base_url).rstrip("/"),
        "prefix": prefix,
        "cookie": "; ".join(f"{name}={value}" for name, value in client.cookies.items()),
        "csrf": page["csrf"]["token"],
        "ticket": page["ticket"],
        "topics": page["topics"],
        "task": task,
    }
    return run_script(asked)


def run_script(asked: dict[str, Any]) -> dict[str, str]:
    command = ["node", "--input-type=module", "-e", CLIENT, json.dumps(asked)]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert finished.returncode == 0, finished.stderr
    outcomes: dict[str, str] = json.loads(finished.stdout)
    return outcomes


def test_without_a_wall_every_request_is_answered(client: httpx.Client) -> None:
    outcomes = asked_by_script(client, "/telltale/")
    assert outcomes == dict.fromkeys(["ticket", "cancel", "take", "live"], "answered")


@pytest.mark.parametrize("wall", WALLS)
def test_behind_any_wall_the_client_knows_that_it_is_refused(client: httpx.Client, wall: str) -> None:
    prefix = f"/walled/{quote(wall)}/"
    task = client.post("/start/", headers=JSON).json()["id"]
    page = page_data(client)
    asked = {"site": str(client.base_url).rstrip("/"), "prefix": prefix, "cookie": "", "csrf": page["csrf"]["token"]}
    outcomes = run_script(asked | {"ticket": page["ticket"], "topics": page["topics"], "task": task})
    assert outcomes.pop("take").startswith("Error: Undecided"), "the notice stays where it is"
    assert outcomes == dict.fromkeys(["ticket", "cancel", "live"], "refused")


def test_behind_a_wall_that_shows_a_page_in_place_of_the_answer_the_client_knows_it_too(client: httpx.Client) -> None:
    outcomes = asked_by_script(client, "/walled/allauth%20verified_email_required/")
    assert (outcomes["ticket"], outcomes["cancel"]) == ("refused", "refused")


@pytest.mark.parametrize("server", ["asgi", "wsgi"])
def test_behind_login_required_middleware_a_bar_moves_and_says_when_its_visitor_has_signed_out_elsewhere(
    server: str,
) -> None:
    def make(directory: Path) -> AccountsSite:
        files = {"site_settings.py": f"from tests.accounts.settings import *\nMIDDLEWARE += [{WALL!r}]\n"}
        return AccountsSite(directory, server=server, files=files, DEBUG=True, TELLTALE={"TICKET_S": 10.0})

    with running(make) as site, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = chromium.new_page(base_url=site.url)
        page.set_default_timeout(60_000)
        page.request.post("/sign-in/", form={"key": "7"})
        page.request.post("/start/", headers=JSON)
        page.goto("/bar/")
        bar = page.locator("task-progress")
        page.wait_for_function(
            "['live', 'polling'].includes(document.querySelector('task-progress').getAttribute('connected'))"
        )
        page.wait_for_function("document.querySelector('task-progress').getAttribute('state') === 'running'")
        page.request.post("/sign-out/")
        bar.get_by_text("Live updates stopped. Reload the page.").wait_for()
        page.request.post("/release/")
        chromium.close()
