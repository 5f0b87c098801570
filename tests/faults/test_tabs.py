"""Pages in a real Chromium as people start it: hidden, frozen, asleep, left and restored, behind bad proxies."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from demo import run
from tests.demo.site import Site, Visitor
from tests.fault_proxy import FaultProxy
from tests.faults.chromium import Chromium, Tab
from tests.faults.conftest import Converges
from tests.http_proxy import Proxy, is_event_stream, is_websocket, response
from tests.transports.sites import wait_until

pytestmark = [pytest.mark.service, pytest.mark.fault]

NEW_TASK = """
from django.contrib.auth import get_user_model
from telltale import store
from telltale.models import TaskState
from telltale.owners import Owner
ada = Owner(user_id=get_user_model().objects.get(username="ada").pk)
task = store.queue(runner="django_tasks", name="demo.airports.tasks.hop", label="Long work", owner=ada).task
store.claim(task_id=task.pk, worker="w")
TaskState.objects.filter(pk=task.pk).update(lease_until=store.now() + 1e6, beat_at=store.now() + 1e6)
print(task.pk)
"""

MOVE = """
from telltale import store
from telltale.core.snapshot import Progress
from telltale.messages import announce
from telltale.models import TaskState
row = TaskState.objects.get(pk="{id}")
progress = Progress(fraction={fraction}, current={fraction} * 100, total=100)
store.save([store.Report(id=row.pk, attempt=row.attempt, seq=row.seq + 1, progress=progress)])
announce(store.read_tasks([row.pk]))
"""

BAR = "document.querySelector('task-progress')"
IS_LIVE = f"{BAR}?.hasAttribute('connected')"

RECORD = f"""
  window.positions = []
  window.persisted = []
  addEventListener("pageshow", event => window.persisted.push(event.persisted))
  new MutationObserver(() => window.positions.push(Math.max(0, {BAR}.querySelector("progress")?.position ?? 0)))
    .observe({BAR}, {{ subtree: true, attributes: true, childList: true }})
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("tabs")) as site:
        yield site


@pytest.fixture(scope="module")
def cookies(site: Site) -> dict[str, str]:
    with Visitor(site.url) as visitor:
        return dict(visitor.sign_in("ada").http.cookies)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chromium]:
    with Chromium(tmp_path) as browser:
        yield browser


def run_in_site(site: Site, code: str) -> str:
    """Run Python code in the demo's project; return its output."""
    command = [sys.executable, "-m", "demo.manage", "shell", "-c", code]
    done = subprocess.run(command, env=site.environment, cwd=run.ROOT, check=True, capture_output=True, text=True)
    return done.stdout.split()[-1] if done.stdout.split() else ""


@pytest.fixture
def task(site: Site, cookies: dict[str, str]) -> str:
    """The id of Ada's task, which runs until a test moves it."""
    return run_in_site(site, NEW_TASK)


@pytest.fixture
def move(site: Site, task: str) -> Callable[[float], None]:
    """`move(fraction)`: the task's worker reports."""
    return lambda fraction: run_in_site(site, MOVE.format(id=task, fraction=fraction)) and None


@pytest.fixture
def open_page(browser: Chromium, cookies: dict[str, str], task: str) -> Callable[[FaultProxy], Tab]:
    def open_at(proxy: FaultProxy) -> Tab:
        tab = browser.open(f"{proxy.url}/telltale/tasks/{task}/", cookies)
        tab.until(IS_LIVE)
        tab.evaluate(RECORD)
        return tab

    return open_at


def shows(fraction: float) -> str:
    return f"Math.abs({BAR}.querySelector('progress').position - {fraction}) < 0.001"


def assert_never_back(tab: Tab) -> None:
    positions = tab.evaluate("window.positions")
    assert positions == sorted(positions)


def is_live_address(head: bytes) -> bool:
    return b"/telltale/live/" in head.partition(b"\r\n")[0]


Open = Callable[[FaultProxy], Tab]
Move = Callable[[float], Any]


def test_f49_behind_a_proxy_that_collects_streams_the_page_polls(
    site: Site, open_page: Open, move: Move, converges: Converges
) -> None:
    with Proxy(site.port, is_websocket, buffers=is_event_stream) as proxy:
        tab = open_page(proxy)
        move(0.5)
        with converges():
            tab.until(shows(0.5))
        assert any(map(is_event_stream, proxy.passed)), "it has tried a stream"
        tab.close()


def test_f51_a_page_whose_line_is_closed_again_and_again_goes_on_without_a_step_back(
    site: Site, open_page: Open, move: Move
) -> None:
    with FaultProxy(site.port, age_s=4.0) as proxy:
        tab = open_page(proxy)
        for fraction in (0.2, 0.4, 0.6, 0.8):
            move(fraction)
            tab.until(shows(fraction))
        assert_never_back(tab)
        tab.close()


@pytest.mark.parametrize("status", ["204 No Content", "502 Bad Gateway", "503 Service Unavailable"])
def test_f52_a_page_whose_live_address_answers_with_an_error_for_a_while_is_live_again_afterwards(
    site: Site, open_page: Open, move: Move, converges: Converges, status: str
) -> None:
    with Proxy(site.port, refusal=response(status)) as proxy:
        tab = open_page(proxy)
        proxy.refuses = [is_live_address]
        proxy.cut()
        wait_until(lambda: len(proxy.refused) >= 4, "the page has tried several times", 90)
        tab.until(f"!{IS_LIVE}")
        move(0.5)
        proxy.refuses = []
        with converges():
            tab.until(f"{IS_LIVE} && {shows(0.5)}")
        assert_never_back(tab)
        tab.close()


def test_f53_eight_tabs_over_http_1_1_are_all_live(site: Site, open_page: Open, move: Move) -> None:
    with Proxy(site.port) as proxy:
        tabs = [open_page(proxy) for _ in range(8)]
        move(0.5)
        for tab in tabs:
            tab.show()
            tab.until(shows(0.5))
        for tab in tabs:
            tab.close()


@pytest.mark.parametrize("is_kept", [True, False], ids=["kept", "loaded again"])
def test_f54_a_page_to_which_the_visitor_goes_back_shows_the_present_state(
    site: Site, open_page: Open, move: Move, converges: Converges, is_kept: bool
) -> None:
    # Chromium keeps no page with a ticket, which is `no-store`, unless the site says otherwise.
    alters = (lambda data: data.replace(b"no-store", b"no-cache")) if is_kept else bytes
    with FaultProxy(site.port, alters=alters) as proxy:
        tab = open_page(proxy)
        tab.go(f"{proxy.url}/")
        move(0.5)
        tab.evaluate("setTimeout(() => history.back(), 10)")
        tab.until("location.pathname.includes('/tasks/')")
        reasons = tab.evaluate("JSON.stringify(performance.getEntriesByType('navigation')[0].notRestoredReasons)")
        assert tab.evaluate("window.persisted") == ([True] if is_kept else None), reasons
        with converges():
            tab.until(f"{IS_LIVE} && {shows(0.5)}")
        if is_kept:
            assert_never_back(tab)
        tab.close()


def test_f54_a_tab_that_was_frozen_shows_the_present_state_when_it_is_in_front_again(
    site: Site, browser: Chromium, cookies: dict[str, str], open_page: Open, move: Move, converges: Converges
) -> None:
    with FaultProxy(site.port) as proxy:
        tab = open_page(proxy)
        other = browser.open(f"{proxy.url}/", cookies)
        other.show()
        tab.until("document.visibilityState === 'hidden'")
        tab.call("Page.setWebLifecycleState", state="frozen")
        move(0.5)
        time.sleep(5)
        tab.call("Page.setWebLifecycleState", state="active")
        tab.show()
        with converges():
            tab.until(f"{IS_LIVE} && {shows(0.5)}")
        assert_never_back(tab)
        tab.close()
        other.close()


def test_f55_the_late_timers_of_a_hidden_tab_end_no_connection_and_it_is_up_to_date_when_it_is_shown(
    site: Site, browser: Chromium, cookies: dict[str, str], open_page: Open, move: Move, converges: Converges
) -> None:
    with Proxy(site.port) as proxy:
        tab = open_page(proxy)
        tab.evaluate("setInterval(() => (window.ticks = (window.ticks ?? 0) + 1), 1_000)")
        other = browser.open(f"{proxy.url}/", cookies)
        other.show()
        tab.until("document.visibilityState === 'hidden'")
        time.sleep(20)
        ticks, sockets = tab.evaluate("window.ticks"), sum(map(is_websocket, proxy.passed))
        time.sleep(130)
        assert tab.evaluate("window.ticks") - ticks < 30, "its timers are throttled"
        move(0.5)
        tab.show()
        with converges():
            tab.until(f"{IS_LIVE} && {shows(0.5)}")
        assert sum(map(is_websocket, proxy.passed)) == sockets
        tab.close()
        other.close()


def test_f56_a_browser_that_slept_reconnects_once(
    site: Site, browser: Chromium, open_page: Open, move: Move, converges: Converges
) -> None:
    with Proxy(site.port) as proxy:
        tab = open_page(proxy)
        sockets = sum(map(is_websocket, proxy.passed))
        proxy.black_hole()
        browser.suspend(50.0)
        proxy.heal()
        move(0.5)
        with converges():
            tab.until(f"{IS_LIVE} && {shows(0.5)}")
        assert sum(map(is_websocket, proxy.passed)) - sockets <= 2
        assert_never_back(tab)
        tab.close()


def test_f56_a_network_that_comes_and_goes_leaves_one_connection(
    site: Site, open_page: Open, move: Move, converges: Converges
) -> None:
    with Proxy(site.port) as proxy:
        tab = open_page(proxy)
        for is_offline in [True, False] * 4:
            conditions = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
            tab.call("Network.emulateNetworkConditions", offline=is_offline, **conditions)
            time.sleep(0.3)
        move(0.5)
        with converges():
            tab.until(f"{IS_LIVE} && {shows(0.5)}")
        assert_never_back(tab)
        tab.close()
