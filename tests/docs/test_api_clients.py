"""docs/api-clients.md: its code is a site here, and its clients follow a task of that site to the end."""

import functools
import http.server
import json
import os
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, sync_playwright

from tests.accounts.site import AccountsSite, browser
from tests.browser.conftest import CHROMIUM
from tests.servers import ROOT, free_port, running
from tests.transports.sites import PATIENCE_S, wait_until

pytestmark = pytest.mark.service

TEXT = (ROOT / "docs" / "api-clients.md").read_text()
ORIGIN = "https://app.example.com"
BLOCKS = [(file, code) for file, code in re.findall(r"^```\w+\n(?:#|//) ([\w/.]+)\n(.*?)^```", TEXT, re.S | re.M)]

SETTINGS = """
from tests.accounts.settings import *
ROOT_URLCONF = "urls"
%s
TELLTALE |= {"BROKER": "memory://"}
"""

URLS = """
from django.urls import include, path
from rest_framework.routers import SimpleRouter
from shop.api import api
from shop.views import Imports
%s
from tests.accounts import urls
urlpatterns += [entry for entry in urls.urlpatterns if str(entry.pattern) != "telltale/"]
"""

FOLLOW = """
import { start } from "./ticket.js"
import { followBySse } from "./sse.js"
import { followBySocket } from "./socket.js"

const [, , site, token, origin, how] = process.argv

// As a browser does it for a page of this origin: ask first, and give the page nothing that is not allowed.
const plainFetch = globalThis.fetch
globalThis.fetch = async (url, options) => {
  const names = Object.keys(options.headers).map(name => name.toLowerCase()).filter(name => name !== "accept").join()
  const asked = { "Access-Control-Request-Method": options.method, "Access-Control-Request-Headers": names }
  const preflight = await plainFetch(url, { method: "OPTIONS", headers: { ...asked, Origin: origin } })
  const allowed = preflight.headers.get("Access-Control-Allow-Headers")?.toLowerCase().split(/, */) ?? []
  const missing = names.split(",").filter(name => !allowed.includes(name))
  if (!preflight.ok || missing.length) throw new TypeError(`CORS: the preflight of ${url} allows no ${missing}`)
  const response = await plainFetch(url, { ...options, headers: { ...options.headers, Origin: origin } })
  if (response.headers.get("Access-Control-Allow-Origin") !== origin) throw new TypeError(`CORS: ${url}`)
  return response
}

const { task, ticket } = await start(site, token)
const onMessage = message => {
  for (const snapshot of message.tasks ?? []) {
    console.log(JSON.stringify([snapshot.id === task.id, snapshot.state]))
    if (snapshot.ended) process.exit()
  }
}
await (how === "sse" ? followBySse : followBySocket)(site, ticket, onMessage)
"""


def code_of(file: str) -> str:
    return "\n".join(code for name, code in BLOCKS if name == file)


def files(origin: str) -> dict[str, str]:
    """The page's code as a project, whose other origin is this one."""
    in_settings = code_of("settings.py").replace("[...", "[*INSTALLED_APPS").replace("...]", "*MIDDLEWARE]")
    project = {
        "site_settings.py": SETTINGS % in_settings,
        "urls.py": URLS % code_of("urls.py"),
        "shop/__init__.py": "",
        "shop/tasks.py": "from tests.accounts.tasks import import_airports\n\n__all__ = ['import_airports']\n",
        "shop/views.py": code_of("shop/views.py"),
        "shop/api.py": code_of("shop/api.py"),
    }
    clients = {f"client/{name}": code for name, code in BLOCKS if name.endswith((".js", ".sh"))}
    clients |= {"client/package.json": '{"type": "module"}', "client/follow.js": FOLLOW, "client/index.html": "<p>App"}
    return {name: text.replace(ORIGIN, origin) for name, text in (project | clients).items()}


@pytest.fixture(scope="module")
def site() -> Iterator[AccountsSite]:
    # A browser takes localhost and 127.0.0.1 for two hosts, of which this is the page's.
    origin = f"http://localhost:{free_port()}"

    def make(directory: Path) -> AccountsSite:
        return AccountsSite(directory, files=files(origin))

    with running(make) as started:
        started.other_origin = origin  # type: ignore[attr-defined]
        yield started


@pytest.fixture
def token(site: AccountsSite) -> str:
    with browser(site) as client:
        client.post("/hold/")
        client.post("/sign-in/", data={"key": "7"})
        return client.get("/token/").text


def release_when_running(site: AccountsSite, token: str) -> None:
    """Let the user's only open task end, once it runs."""
    headers = {"Authorization": f"Token {token}", "Accept": "application/json"}

    def is_running() -> bool:
        tasks = httpx.get(f"{site.url}/telltale/tasks/", headers=headers).json()["tasks"]
        return any(task["state"] == "running" for task in tasks)

    wait_until(is_running, "the task runs")
    httpx.post(f"{site.url}/release/")


@contextmanager
def killed_after(command: list[str], directory: Path, **env: str) -> "Iterator[subprocess.Popen[str]]":
    """Run a client, which does not outlive the block."""
    options: Any = {"cwd": directory, "env": os.environ | env, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **options) as process:
        try:
            yield process
        finally:
            process.kill()


def test_every_block_is_used() -> None:
    assert len(BLOCKS) == TEXT.count("\n```\n") == 9


def test_curl_follows_a_task_of_django_rest_framework_to_its_end(site: AccountsSite, token: str) -> None:
    env = {"SITE": site.url, "TOKEN": token}
    with killed_after(["bash", "-eu", "follow.sh"], site.directory / "client", **env) as process:
        release_when_running(site, token)
        output, _errors = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, json.loads(output)["state"]) == (0, "succeeded")


@pytest.mark.parametrize("how", ["sse", "socket"])
def test_node_on_another_origin_follows_a_task_of_django_ninja_to_its_end(
    site: AccountsSite, token: str, how: str
) -> None:
    origin: str = site.other_origin  # type: ignore[attr-defined]
    flags = [] if has_socket() else ["--experimental-websocket"]
    command = ["node", *flags, "follow.js", site.url, token, origin, how]
    with killed_after(command, site.directory / "client") as process:
        states = map(json.loads, process.stdout or ())
        while next(states) != [True, "running"]:
            pass
        httpx.post(f"{site.url}/release/")
        assert list(states)[-1] == [True, "succeeded"]


@pytest.mark.parametrize(("url", "scheme"), [("rest/imports/", "Token"), ("ninja/imports", "Bearer")])
def test_the_sites_own_api_starts_shows_and_cancels_a_task(
    site: AccountsSite, token: str, url: str, scheme: str
) -> None:
    headers = {"Authorization": f"{scheme} {token}", "Accept": "application/json"}
    with httpx.Client(base_url=site.url, headers=headers, timeout=PATIENCE_S) as client:
        started = client.post(f"/{url}")
        assert started.status_code == 202, started.text
        own, end = f"/{url.strip('/')}/{started.json()['id']}", "/" if url.endswith("/") else ""
        shown = client.get(own + end)
        assert shown.json().keys() >= started.json().keys()
        assert (shown.json()["id"], shown.json()["can_cancel"]) == (started.json()["id"], True)
        cancelled = client.post(f"{own}/cancel{end}").json()
        assert cancelled["cancel_requested"] or cancelled["state"] == "cancelled"
        httpx.post(f"{site.url}/release/")


def has_socket() -> bool:
    """Whether this node has `WebSocket` without a flag."""
    printed = subprocess.run(["node", "-p", "typeof WebSocket"], capture_output=True, text=True, check=True)
    return printed.stdout.strip() == "function"


def test_a_node_client_of_an_origin_that_is_not_listed_gets_nothing(site: AccountsSite, token: str) -> None:
    command = ["node", "follow.js", site.url, token, "https://evil.example", "sse"]
    finished = subprocess.run(command, cwd=site.directory / "client", capture_output=True, text=True, timeout=60)
    assert finished.returncode == 1
    assert "TypeError: CORS" in finished.stderr


# A real browser


IN_PAGE = """
async ([site, token, how]) => {
  const { start } = await import("/ticket.js")
  const { followBySse } = await import("/sse.js")
  const { followBySocket } = await import("/socket.js")
  const { task, ticket } = await start(site, token)
  window.states = []
  const onMessage = message => states.push(...(message.tasks ?? []).map(snapshot => snapshot.state))
  ;(how === "sse" ? followBySse : followBySocket)(site, ticket, onMessage)
}
"""


@contextmanager
def page_at(site: AccountsSite, host: str) -> Iterator[Page]:
    """A page of another origin than the site's, in a real browser."""
    handler = functools.partial(QuietHandler, directory=site.directory / "client")
    port = int(site.other_origin.rpartition(":")[2])  # type: ignore[attr-defined]
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
    threading.Thread(target=server.serve_forever).start()
    try:
        with sync_playwright() as playwright:
            chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            page = chromium.new_page()
            page.set_default_timeout(30_000)
            page.goto(f"http://{host}:{port}/")
            yield page
            chromium.close()
    finally:
        server.shutdown()
        server.server_close()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""


@pytest.mark.parametrize("how", ["sse", "socket"])
def test_a_page_of_another_origin_follows_a_task_to_its_end(site: AccountsSite, token: str, how: str) -> None:
    with page_at(site, "localhost") as page:
        page.evaluate(IN_PAGE, [site.url, token, how])
        page.wait_for_function("states.includes('running')")
        httpx.post(f"{site.url}/release/")
        page.wait_for_function("states.includes('succeeded')")


def test_a_page_of_an_origin_that_is_not_listed_gets_nothing(site: AccountsSite, token: str) -> None:
    with page_at(site, "127.0.0.1") as page:
        fetched = "([url, headers]) => fetch(url, { headers }).then(() => 'read', error => error.name)"
        headers = {"Authorization": f"Token {token}"}
        assert page.evaluate(fetched, [f"{site.url}/telltale/tasks/", headers]) == "TypeError"
        opened = """url => new Promise(resolve => {
            const socket = new WebSocket(url)
            socket.onopen = () => resolve('open')
            socket.onerror = () => resolve('refused')
        })"""
        assert page.evaluate(opened, f"{site.url.replace('http', 'ws')}/telltale/live/") == "refused"
