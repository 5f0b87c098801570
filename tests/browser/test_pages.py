"""The pages in a real browser, with a real server and a real worker."""

import re
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from demo import run
from tests.browser.steps import (
    END_S,
    bar_position,
    bar_positions_until_success,
    sign_in,
    upload,
    wait_until,
    wait_until_live,
    wait_until_moving,
)
from tests.demo.site import Site, topic_of
from tests.http_proxy import Proxy, is_event_stream, is_websocket

pytestmark = pytest.mark.service

COUNT_TOASTS = """
  window.toasts = []
  new MutationObserver(changes => {
    const added = changes.flatMap(change => [...change.addedNodes])
    const shown = added.filter(node => node.classList?.contains("telltale-toast"))
    window.toasts.push(...shown.map(toast => toast.textContent))
  }).observe(document, { childList: true, subtree: true })
"""

ADD_STATUS = """
  const status = document.createElement("task-status")
  status.task = document.querySelector("task-progress").task
  status.mine = true
  window.lines = []
  new MutationObserver(() => lines.push(status.textContent)).observe(status, { childList: true, subtree: true })
  document.querySelector("main").append(status)
"""


COUNT_QUESTIONS = """
  window.questions = 0
  const permission = Object.getOwnPropertyDescriptor(Notification, "permission")
  Object.defineProperty(Notification, "permission", { get: () => { questions += 1; return permission.get() } })
"""


def test_an_import_is_live_to_its_end_without_a_reload(page: Page, airports: bytes) -> None:
    page.add_init_script(COUNT_QUESTIONS)
    upload(page, airports)
    page.evaluate("window.wasNotReloaded = true")
    page.evaluate(ADD_STATUS)
    positions = bar_positions_until_success(page)
    assert len(set(positions)) >= 10
    assert positions == sorted(positions)
    assert max(positions[:-1]) < 1
    assert page.evaluate("window.wasNotReloaded") is True
    expect(page.locator("task-progress")).to_contain_text("Done")
    expect(page.locator("task-status[state='succeeded']")).to_have_text("Import airports.csv Done")
    # The browser takes long to say what it permits: it is asked every second at most, not at every update.
    questions, seconds = page.evaluate("[questions, performance.now() / 1_000]")
    assert 1 <= questions <= 3 * seconds + 10
    seen = page.evaluate("lines")
    assert any(re.fullmatch(r"Import airports.csv \d+%", line) for line in seen), seen
    page.get_by_role("link", name=re.compile("result", re.IGNORECASE)).click()
    expect(page.locator("#count")).to_have_attribute("value", "9000")


def test_a_reload_in_the_middle_loses_no_progress(page: Page, airports: bytes) -> None:
    upload(page, airports)
    wait_until_moving(page)
    before = bar_position(page)
    page.reload()  # shows the saved progress first, and the current one a moment later
    wait_until(page, lambda: bar_position(page) >= before)
    assert bar_positions_until_success(page)[-1] == 1


def test_of_two_tabs_one_shows_the_toast(
    site: Site, open_context: Callable[..., BrowserContext], airports: bytes
) -> None:
    context = open_context()
    context.add_init_script(COUNT_TOASTS)
    askers: list[Page] = []
    context.on("request", lambda request: askers.append(request.frame.page) if "/take/" in request.url else None)
    tabs = [context.new_page(), context.new_page()]
    upload(tabs[0], airports)
    task_id = topic_of(tabs[0].url).removeprefix("task:").replace("-", "")
    for tab in tabs:
        tab.goto("/")
        wait_until_live(tab)

    notices = "SELECT shown_at IS NOT NULL FROM telltale_storednotice WHERE task_id = ?"
    wait_until(tabs[0], lambda: site.rows(notices, task_id) == [(True,)])
    assert sorted(toasts_since_load(tab) for tab in tabs) == [0, 1]

    for tab in tabs:
        requests = askers.count(tab)
        tab.reload()
        wait_until_live(tab)
        assert askers.count(tab) == requests
    assert [toasts_since_load(tab) for tab in tabs] == [0, 0]


def test_after_a_restart_of_the_server_the_page_reconnects(site: Site, page: Page, airports: bytes) -> None:
    upload(page, airports)
    page.evaluate("window.wasNotReloaded = true")
    wait_until_moving(page)
    before = bar_position(page)
    site.stop_web()
    expect(page.locator("task-progress[connected]")).to_have_count(0)
    assert bar_position(page) >= before
    site.start_web()
    assert bar_positions_until_success(page)[-1] == 1
    assert page.evaluate("window.wasNotReloaded") is True


@pytest.mark.parametrize(
    "refused", [[is_websocket], [is_websocket, is_event_stream]], ids=["WebSockets", "WebSockets and streams"]
)
def test_f50_behind_a_proxy_that_refuses_a_transport_the_page_uses_the_next(
    site: Site, open_context: Callable[..., BrowserContext], airports: bytes, refused: list[Callable[[bytes], bool]]
) -> None:
    with Proxy(site.port, *refused) as proxy:
        page = open_context(base_url=proxy.url).new_page()
        upload(page, airports)
        page.evaluate("window.wasNotReloaded = true")
        positions = bar_positions_until_success(page)
        assert positions == sorted(positions)
        assert len(set(positions)) >= 4
        assert page.evaluate("window.wasNotReloaded") is True
        for is_refused in refused:
            assert any(is_refused(head) for head in proxy.refused)


def test_without_javascript_the_page_refreshes_and_the_task_can_be_cancelled(
    open_context: Callable[..., BrowserContext], all_airports: bytes
) -> None:
    page = open_context(java_script_enabled=False).new_page()
    upload(page, all_airports)
    loads: list[str] = []
    page.on("load", lambda loaded: loads.append(loaded.url))
    expect(page.locator("task-progress progress")).to_have_attribute(
        "value", re.compile(r"0\.[0-9]*[1-9]"), timeout=90_000
    )
    wait_until(page, lambda: len(loads) >= 1)  # The first page may have shown the value already.
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("task-progress")).to_contain_text("Stopped")
    expect(page.locator("task-timeline .telltale-moment")).to_contain_text(["Queued", "Stopped"])


def test_after_the_worker_was_killed_the_page_says_so_and_offers_to_try_again(
    site: Site, page: Page, airports: bytes
) -> None:
    upload(page, airports)
    wait_until_moving(page)
    site.kill_worker()
    try:
        expect(page.locator("task-progress")).to_contain_text("Lost contact with the worker")
        expect(page.locator("task-progress")).to_contain_text("Interrupted before it finished")
    finally:
        site.start_worker()
    moments = page.locator("task-timeline .telltale-moment")
    expect(moments).to_contain_text(["Queued", "Interrupted before it finished"])
    page.evaluate("window.wasNotReloaded = true")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator('task-progress[state="succeeded"]')).to_be_visible(timeout=END_S * 1000)
    expect(moments).to_contain_text(["Queued", "Attempt 1: Interrupted before it finished", "Attempt 2: Done"])
    assert page.evaluate("window.wasNotReloaded") is True
    live = moments.all_inner_texts()
    page.reload()
    expect(moments).to_have_text(live, use_inner_text=True)


def test_the_state_of_a_running_task_is_requested_before_any_module_has_arrived(page: Page, airports: bytes) -> None:
    upload(page, airports)
    task_id = topic_of(page.url).removeprefix("task:")
    page.route("**/*.js", lambda route: route.abort())
    with page.expect_response(lambda response: "/telltale/live/" in response.url) as found:
        page.reload()
    assert [task["id"] for task in found.value.json()["tasks"]] == [task_id]
    assert page.evaluate("customElements.get('task-progress') === undefined") is True


KNOWS = "import('telltale').then(({ connect }) => id => connect().snapshots.has(id))"
IS_LEADING = """
  navigator.locks.request("test", () => navigator.locks.query()).then(({ held }) => {
    const { clientId } = held.find(lock => lock.name === "test")
    return held.some(lock => lock.name.startsWith("telltale 1 stream") && lock.clientId === clientId)
  })
"""


def test_f53_eight_tabs_over_http_1_share_one_stream_and_another_leads_when_the_leading_one_is_closed(
    open_context: Callable[..., BrowserContext], airports: bytes
) -> None:
    context = open_context()
    context.route_web_socket(re.compile("/live/"), lambda socket: socket.close())
    tabs = [context.new_page() for _ in range(8)]
    sign_in(tabs[0], "Ada")
    for tab in tabs[1:]:
        tab.goto("/", wait_until="commit")
    for tab in tabs:
        wait_until_live(tab)
    [leader] = [tab for tab in tabs if tab.evaluate(IS_LEADING)]
    tabs.remove(leader)
    leader.close()
    wait_until(tabs[0], lambda: [tab.evaluate(IS_LEADING) for tab in tabs].count(True) == 1)
    upload(tabs[0], airports)
    task_id = topic_of(tabs[0].url).removeprefix("task:")
    for tab in tabs[1:]:
        wait_until(tab, lambda: tab.evaluate(f"{KNOWS}.then(knows => knows('{task_id}'))"))  # noqa: B023
        wait_until_live(tab)


def test_every_module_of_the_import_map_loads(page: Page) -> None:
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url) if request.url.endswith(".js") else None)
    page.goto("/")
    imports: dict[str, str] = page.evaluate("JSON.parse(document.querySelector('[type=importmap]').text).imports")
    assert "telltale/live/live.js" in imports
    # Those import React and Vue, which this page has not: tests/docs/test_frameworks.py.
    names = [name for name in imports if name not in {"telltale/react", "telltale/vue"}]
    page.evaluate("names => Promise.all(names.map(name => import(name)))", names)
    ours = [url for url in requests if "/telltale/" in url]
    # Each module is fetched once: its preload is the one that the import uses.
    assert len(ours) == len(set(ours)) == len({imports[name] for name in names})


ADD_TASKS = """
from django.contrib.auth import get_user_model
from telltale import store
from telltale.models import TaskState
ada = get_user_model().objects.get(username="ada")
TaskState.objects.filter(owner=ada).delete()
now = store.now()
hop = {"runner": "django_tasks", "name": "demo.airports.tasks.hop", "call": {"args": [1.0], "kwargs": {}}, "owner": ada}
ended = [
    TaskState(label=f"Ended {n}", state="failed", created_at=now - n, started_at=now - n, ended_at=now - n, **hop)
    for n in range(1, 31)
]
TaskState.objects.bulk_create([*ended, TaskState(label="Waits", created_at=now, **hop)])
"""
SMALLEST_TARGET = """
  panel => Math.min(...[...panel.querySelectorAll("a, button")].flatMap(it => {
    const { width, height } = it.getBoundingClientRect()
    return width ? [width, height] : []
  }))
"""


def test_the_tray_acts_by_keyboard_clears_only_what_it_shows_and_leads_to_all_tasks(site: Site, page: Page) -> None:
    run_in_site(site, ADD_TASKS)
    sign_in(page, "Ada")
    button, panel = page.locator(".telltale-tray-button"), page.locator(".telltale-tray-panel")
    expect(button).to_have_accessible_name("Your tasks 1")
    expect(button).to_have_accessible_description("1 not finished")
    button.focus()
    page.keyboard.press("Enter")
    stop = panel.get_by_role("button", name="Stop: Waits")
    expect(stop).to_be_visible()
    expect(panel.get_by_role("button", name="Try again: Ended")).to_have_count(19)
    expect(panel.locator("li")).to_have_count(20)
    expect(panel).to_contain_text("and 11 more")
    assert panel.evaluate(SMALLEST_TARGET) >= 24

    for name in ("All tasks", "Close", "Waits"):
        expect(panel.locator(":focus")).to_have_accessible_name(name)
        page.keyboard.press("Tab")
    expect(stop).to_be_focused()
    page.keyboard.press("Enter")
    row = panel.locator("li", has_text="Waits")
    expect(row).to_have_attribute("state", "cancelled")
    expect(row.get_by_role("link", name="Waits")).to_be_focused()
    page.keyboard.press("Tab")
    expect(row.get_by_role("button", name="Start again: Waits")).to_be_focused()
    page.keyboard.press("Enter")
    expect(row).to_have_attribute("state", "succeeded")
    expect(row.get_by_role("link", name="Waits")).to_be_focused()

    site.rows("DELETE FROM telltale_taskstate WHERE label = 'Ended 1'")
    panel.get_by_role("button", name="Try again: Ended 1", exact=True).click()
    expect(panel.locator("li", has_text="This task doesn't exist, or it isn't yours.")).to_contain_text("Ended 1")

    panel.get_by_role("button", name="Clear finished").click()
    expect(panel.locator("li")).to_have_count(11)
    page.reload()
    button.click()
    expect(panel.locator("li")).to_have_count(11)
    expect(panel.locator("li").first).to_contain_text("Ended 20")
    panel.get_by_role("link", name="All tasks").click()
    expect(page.locator("main task-progress")).to_have_count(30)


PUT_TRAY = """
  ([place, direction]) => {
    document.documentElement.dir = direction
    document.querySelector("task-tray").style.cssText = `position: fixed; ${place}`
  }
"""
OVERLAPS = """
  () => {
    const button = document.querySelector(".telltale-tray-button").getBoundingClientRect()
    const panel = document.querySelector(".telltale-tray-panel").getBoundingClientRect()
    return panel.top < button.bottom && panel.bottom > button.top
  }
"""


@pytest.mark.parametrize("direction", ["ltr", "rtl"])
def test_the_panel_of_the_tray_is_inside_the_window_wherever_its_button_is(
    site: Site, page: Page, direction: str
) -> None:
    run_in_site(site, ADD_TASKS)
    sign_in(page, "Ada")
    for width, height in ((1280, 720), (600, 400)):
        page.set_viewport_size({"width": width, "height": height})
        for place in ("left: 0; top: 0", "right: 0; top: 0", "left: 0; bottom: 0", "right: 0; bottom: 0", "inset: 45%"):
            page.evaluate(PUT_TRAY, [place, direction])
            page.locator(".telltale-tray-button").click()
            panel = page.locator(".telltale-tray-panel")
            expect(panel.get_by_role("button", name="Close")).to_be_in_viewport(ratio=1)
            expect(panel).to_be_in_viewport(ratio=1)
            assert not page.evaluate(OVERLAPS), (width, place)
            page.keyboard.press("Escape")
            expect(panel).to_be_hidden()


def run_in_site(site: Site, code: str) -> None:
    """Run Python code in the demo's project."""
    command = [sys.executable, "-m", "demo.manage", "shell", "-c", code]
    subprocess.run(command, env=site.environment, cwd=run.ROOT, check=True)


def toasts_since_load(page: Page, text: str = "") -> int:
    """Return how many toasts with this text the page has shown since it was loaded."""
    return sum(text in toast for toast in page.evaluate("toasts"))


PUT_CLOCK_FORWARD = """
  const plainNow = Date.now
  Date.now = () => plainNow() + 50_000
  const element = document.querySelector("task-progress")
  window.healths = []
  new MutationObserver(() => window.healths.push(element.getAttribute("health")))
    .observe(element, { attributeFilter: ["health"] })
"""


def test_f39_a_visitor_who_puts_the_clock_forward_sees_no_stalled_task(page: Page, airports: bytes) -> None:
    upload(page, airports)
    wait_until_moving(page)
    page.evaluate(PUT_CLOCK_FORWARD)
    bar_positions_until_success(page)
    assert "stalled" not in page.evaluate("window.healths")


CORRECTED_BAR = """
  async () => {
    const { connect } = await import("telltale")
    const live = connect()
    const bar = document.createElement("task-progress")
    bar.setAttribute("task", "00000000-0000-4000-8000-00000000000c")
    bar.setAttribute("mine", "")
    document.querySelector("main").prepend(bar)
    const none = { error: null, reference: null, result: null, has_return_value: false, due_at: null, ahead: null,
      is_listening: null, missing_since: null, remaining_s: null, remaining_spread: null, usual_s: null, ended_at: null,
      cancel_requested: false, no_cancel: null }
    const progress = { total: 100, unit: "", message: "", stage: "", step: 0, steps: null }
    const times = { created_at: live.now, started_at: live.now, moved_at: live.now, beat_at: live.now }
    window.report = (attempt, seq, state, current, corrected) => live.receive({
      corrected,
      tasks: [{ ...none, ...times, id: bar.task, attempt, seq, state, ended: state !== "running", label: "Corrected",
        progress: { ...progress, fraction: current / 100, current } }],
    })
    return bar.task
  }
"""


def test_a_bar_takes_back_what_the_server_corrects_and_goes_on_from_there(page: Page) -> None:
    page.goto("/")
    task = page.evaluate(CORRECTED_BAR)
    element, bar = page.locator("task-progress").first, page.locator("task-progress progress").first
    page.evaluate("report(1, 5, 'running', 20)")
    expect(element).to_have_attribute("rendered", f"{task} 1 0 5")
    page.evaluate("report(1e9, 0, 'failed', 90)")
    expect(element).to_have_attribute("state", "failed")
    page.evaluate("report(1, 6, 'running', 30)")
    expect(element).to_have_attribute("state", "failed")
    page.evaluate("id => report(1, 7, 'running', 40, [id])", task)
    expect(element).to_have_attribute("state", "running")
    assert bar.evaluate("it => it.value") == 0.4
    page.evaluate("report(1, 8, 'running', 50)")
    expect(element).to_have_attribute("rendered", f"{task} 1 0 8")
    assert bar.evaluate("it => it.value") == 0.5


MOVING_BARS = """
  async () => {
    const { connect } = await import("telltale")
    const live = connect()
    const none = { error: null, reference: null, result: null, has_return_value: false, due_at: null, ahead: null,
      is_listening: null, missing_since: null, remaining_s: null, remaining_spread: null, usual_s: null, ended_at: null,
      cancel_requested: false, no_cancel: null }
    const progress = { total: 100, unit: "", message: "", stage: "", step: 0, steps: null }
    const times = { created_at: live.now, started_at: live.now, moved_at: live.now, beat_at: live.now }
    const snapshot = (id, seq, state = "running") => ({
      ...none, ...times, id, seq, state, attempt: 1, ended: state !== "running", label: "Moving",
      progress: { ...progress, fraction: seq / 100, current: seq },
    })
    const [near, far] = ["near", "far"].map((name, i) => {
      const bar = document.createElement("task-progress")
      bar.id = name
      bar.setAttribute("task", `00000000-0000-4000-8000-00000000000${i}`)
      bar.setAttribute("mine", "")
      return bar
    })
    const space = document.createElement("div")
    space.style.height = "5000px"
    const line = document.createElement("task-status")
    line.id = "line"
    line.setAttribute("task", far.getAttribute("task"))
    line.setAttribute("mine", "")
    document.querySelector("main").prepend(near, space, far, line)
    const send = (seq, state) => live.receive({ tasks: [near, far].map(bar => snapshot(bar.task, seq, state)) })
    window.send = send
    send(1)
    const inSight = await new Promise(resolve => {
      const observer = new IntersectionObserver(seen => {
        observer.disconnect()
        resolve(seen)
      })
      observer.observe(far)
    })
    await new Promise(resolve => requestAnimationFrame(() => setTimeout(resolve)))
    const events = { near: 0, far: 0 }
    document.addEventListener("telltale:change", ({ target }) => (events[target.id] += 1))
    const changes = new MutationObserver(() => {})
    for (const bar of [near, far]) changes.observe(bar, { subtree: true, childList: true, attributes: true })
    for (let seq = 2; seq <= 50; seq += 1) send(seq)
    return { isFarInSight: inSight[0].isIntersecting, events, changes: changes.takeRecords().length }
  }
"""


def test_updates_are_shown_in_one_frame_and_a_bar_out_of_sight_is_right_when_it_is_seen(page: Page) -> None:
    page.goto("/")
    seen = page.evaluate(MOVING_BARS)
    # Each update has its event, but nothing is drawn for it by itself.
    assert seen == {"isFarInSight": False, "events": {"near": 49, "far": 49}, "changes": 0}
    expect(page.locator("#near")).to_contain_text("50%")
    page.locator("#far").scroll_into_view_if_needed()
    expect(page.locator("#far")).to_contain_text("50%")
    # An end is shown, and announced, at once and wherever the bar is.
    ids = "['near', 'far', 'line']"
    states = f"send(60, 'failed'); {ids}.map(id => document.getElementById(id).getAttribute('state'))"
    page.evaluate("scrollTo(0, 0)")
    assert page.evaluate(states) == ["failed"] * 3


HIDDEN_PAGE = """
  Object.defineProperty(document, "hidden", { get: () => true })
  document.dispatchEvent(new Event("visibilitychange"))
"""
BAR_OF_TIME = """
  async () => {
    const { connect } = await import("telltale")
    const live = connect()
    const bar = document.createElement("task-progress")
    bar.setAttribute("task", "00000000-0000-4000-8000-000000000009")
    bar.setAttribute("mine", "")
    document.querySelector("main").prepend(bar)
    const progress = { fraction: null, current: null, total: null, unit: "", message: "", stage: "", step: 0 }
    const none = { error: null, reference: null, result: null, has_return_value: false, due_at: null, ahead: null,
      is_listening: null, missing_since: null, remaining_s: null, remaining_spread: null, ended_at: null,
      cancel_requested: false, no_cancel: null }
    const { now } = live
    const snapshot = { ...none, id: bar.task, attempt: 1, seq: 1, ended: false, state: "running", label: " ",
      name: "shop.import_all", usual_s: [1000, 2000], created_at: now, started_at: now - 500, moved_at: now,
      beat_at: now, progress }
    live.receive({ tasks: [snapshot] })
    window.report = (seq, more) => live.receive({ tasks: [{ ...snapshot, seq, progress: { ...progress, ...more } }] })
  }
"""


# At one moment: the state of the connection may come and go, and moves them.
PLACES = """
  [".telltale-ticks", "task-progress progress"].map(it => document.querySelector(it).getBoundingClientRect().toJSON())
"""


def test_a_bar_of_time_alone_has_no_percentage_and_stages_have_ticks(page: Page) -> None:
    page.goto("/")
    title = page.title()
    page.evaluate(HIDDEN_PAGE)
    page.evaluate(BAR_OF_TIME)
    element, bar = page.locator("task-progress").first, page.locator("task-progress progress").first
    expect(element).to_contain_text("Import all")
    expect(bar).to_have_attribute("aria-valuetext", "Working")
    assert bar_position(page) >= 0.5
    assert "%" not in element.inner_text()
    assert page.title() == title
    page.evaluate("report(2, { fraction: 0.62, stage: 'Linking', step: 2, steps: 3, borders: [0.25, 0.5] })")
    expect(page).to_have_title(f"(62%) {title}")
    expect(page.locator("link[rel=icon]")).to_have_attribute("href", "/static/telltale/icons/quarter-2.svg")
    expect(bar).to_have_attribute("aria-valuetext", "62%, step 2 of 3")
    ticks = page.locator(".telltale-ticks")
    expect(ticks.locator("path")).to_have_attribute("d", "M0.25 0v1M0.5 0v1")
    ticks_at, bar_at = page.evaluate(PLACES)
    assert ticks_at == bar_at


def test_after_stop_the_focus_is_on_a_group_with_a_name_and_an_outline(page: Page, all_airports: bytes) -> None:
    upload(page, all_airports)
    wait_until_live(page)
    page.get_by_role("button", name="Stop").focus()
    page.keyboard.press("Enter")
    group = page.get_by_role("group", name="Import airports.csv")
    expect(group).to_be_focused()
    assert group.evaluate("it => getComputedStyle(it).outlineStyle") == "solid"
    expect(group).to_contain_text("Stopped")
    expect(page.locator(".telltale-leave")).to_be_hidden()


ALERTS_40_MS_APART = """
  async () => {
    const { announce, createLiveRegions } = await import("telltale/elements/live-regions.js")
    createLiveRegions()
    const region = document.querySelector(".telltale-spoken[role=alert]")
    window.spoken = []
    new MutationObserver(() => spoken.push([performance.now(), [...region.children].map(it => it.textContent)]))
      .observe(region, { childList: true })
    announce("a", "A failed", { urgent: true })
    setTimeout(() => announce("b", "B failed", { urgent: true }), 40)
    const late = new MutationObserver(() => {
      late.disconnect()
      announce("c", "C failed", { urgent: true })
    })
    late.observe(region, { childList: true })
  }
"""


def test_an_error_of_a_button_goes_when_the_task_has_ended(page: Page, airports: bytes) -> None:
    page.route("**/cancel/", lambda route: route.abort())
    upload(page, airports)
    element, row = page.locator("task-progress"), page.locator(".telltale-row").first
    expect(element).to_have_attribute("connected", "live")
    error = "Couldn't reach the server. Try again."
    element.get_by_role("button", name="Stop").click()
    expect(element.locator(".telltale-note")).to_have_text(error)
    page.locator(".telltale-tray-button").click()
    row.get_by_role("button", name="Stop").click()
    expect(row.locator(".telltale-note")).to_have_text(error)
    bar_positions_until_success(page)
    expect(element.locator(".telltale-note")).to_be_hidden()
    expect(row).to_have_attribute("state", "succeeded")
    expect(row.locator(".telltale-note")).to_be_hidden()


def test_alerts_do_not_replace_each_other_before_they_are_read(page: Page) -> None:
    page.goto("/")
    page.evaluate(ALERTS_40_MS_APART)
    wait_until(page, lambda: "C failed" in str(page.evaluate("spoken")))
    spoken: list[tuple[float, list[str]]] = page.evaluate("spoken")
    assert sorted(text for _, texts in spoken for text in texts) == ["A failed", "B failed", "C failed"]
    times = [at for at, _ in spoken]
    assert all(later - earlier >= 1_900 for earlier, later in pairwise(times))
