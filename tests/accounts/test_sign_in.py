"""A visitor starts a task and signs in while it runs: their pages go on, those from before and those from after."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, sync_playwright

from tests.accounts.site import AccountsSite, browser, page_data
from tests.browser.conftest import CHROMIUM
from tests.servers import running
from tests.transports.conftest import CLIENTS

pytestmark = pytest.mark.service

JSON = {"Accept": "application/json"}
ENGINES = ["db", "signed_cookies"]


@pytest.fixture(params=ENGINES)
def site(request: pytest.FixtureRequest) -> Iterator[AccountsSite]:
    def make(directory: Path) -> AccountsSite:
        engine = f"django.contrib.sessions.backends.{request.param}"
        return AccountsSite(directory, KEY_KIND="uuid", SESSION_ENGINE=engine)

    with running(make) as started:
        yield started


@pytest.fixture
def client(site: AccountsSite) -> Iterator[httpx.Client]:
    with browser(site) as started:
        yield started


def test_live_pages_go_on_when_their_visitor_signs_in(site: AccountsSite, client: httpx.Client) -> None:
    task = client.post("/start/", headers=JSON).json()["id"]
    before = page_data(client)
    assert [topic.partition(":")[0] for topic in before["topics"]] == ["session"]
    with ExitStack() as stack:
        followers = [make(site, before["ticket"]) for make in CLIENTS.values()]
        for follower in followers:
            stack.callback(follower.close)
            follower.snapshot(task, lambda snapshot: snapshot["state"] == "running")
        sign_up(client)
        after = page_data(client)
        assert [topic.partition(":")[0] for topic in after["topics"]] == ["user"]
        renewed = client.post(
            "/telltale/ticket/", json={"topics": before["topics"]}, headers={"X-CSRFToken": after["csrf"]["token"]}
        )
        assert renewed.json()["topics"] == after["topics"]
        for ticket in (after["ticket"], renewed.json()["ticket"]):
            followers.append(CLIENTS["websocket"](site, ticket))
            stack.callback(followers[-1].close)
            followers[-1].snapshot(task, lambda snapshot: snapshot["state"] == "running")
        client.post("/release/")
        for follower in followers:
            follower.snapshot(task, lambda snapshot: snapshot["state"] == "succeeded")
        for follower in followers[-2:]:
            follower.until(lambda message: message.get("notices"))


def test_with_allauth_the_tasks_from_before_are_the_users_and_gone_after_the_sign_out(client: httpx.Client) -> None:
    url = client.post("/start/", headers=JSON).headers["Location"]
    sign_up(client)
    assert client.get(url, headers=JSON).status_code == 200
    client.post("/release/")
    left = client.post("/accounts/logout/", headers={"X-CSRFToken": client.cookies["csrftoken"]})
    assert (left.status_code, client.get(url, headers=JSON).status_code) == (302, 404)


@pytest.mark.parametrize("server", ["asgi", "wsgi"])
def test_a_page_that_was_open_before_renews_its_ticket_and_shows_the_end(server: str) -> None:
    def make(directory: Path) -> AccountsSite:
        return AccountsSite(directory, server=server, DEBUG=True, TELLTALE={"TICKET_S": 10.0})

    with running(make) as site, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = chromium.new_page(base_url=site.url)
        page.set_default_timeout(60_000)
        page.request.post("/start/", headers=JSON)
        page.goto("/bar/")
        wait_for_state(page, "running")
        page.request.post("/sign-in/", form={"key": "7"})
        for _ in range(2):
            with page.expect_response(lambda response: "/telltale/ticket/" in response.url) as renewed:
                pass
            assert renewed.value.json()["topics"] == ["user:7"]
        page.request.post("/release/")
        wait_for_state(page, "succeeded")
        chromium.close()


def wait_for_state(page: Page, state: str) -> None:
    page.wait_for_function(f"document.querySelector('task-progress').getAttribute('state') === '{state}'")


def sign_up(client: httpx.Client) -> None:
    """Make an account by django-allauth's own form, which signs in."""
    client.get("/accounts/signup/")
    form = {"username": "ada", "email": "ada@example.org", "password1": "aub1-2cd", "password2": "aub1-2cd"}
    response = client.post("/accounts/signup/", data=form | {"csrfmiddlewaretoken": client.cookies["csrftoken"]})
    assert response.status_code == 302, response.text
