"""Random histories of notices in real tabs that are closed, reloaded, and lose the server at any step.

None is lost and none is shown twice, over each transport. `tests/js/notices-simulation.test.js` runs thousands of
histories of the same client in simulated time. `TELLTALE_ROUNDS` runs more rounds, `TELLTALE_SEED` the same ones again.
"""

import contextlib
import os
import random
import time
import uuid
from collections import Counter
from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Error, Page, Route, expect

from tests.browser.steps import wait_until, wait_until_live
from tests.demo.site import Site

pytestmark = pytest.mark.service

ROUNDS = int(os.environ.get("TELLTALE_ROUNDS", "3"))
SEED = int(os.environ.get("TELLTALE_SEED", "0")) or random.randrange(1, 2**31)
STEPS = 14
MOST_TABS = 3
FATES = ["passes"] * 5 + ["is lost", "has no answer", "gets 502", "is late"]
"""What happens to a request for a notice."""

INSERT = "INSERT INTO telltale_storednotice (id, topic, level, text, created_at, holder) VALUES (?, ?, ?, ?, ?, '')"

NO_SOCKET = "delete window.WebSocket"
NO_STREAM = """
  const plainFetch = window.fetch
  window.fetch = (url, options) => {
    const isStream = options?.headers?.Accept === "text/event-stream"
    return isStream ? Promise.reject(new TypeError("forbidden")) : plainFetch(url, options)
  }
"""
TRANSPORTS = {"WebSocket": [], "event stream": [NO_SOCKET], "polling": [NO_SOCKET, NO_STREAM]}

RECORD = """
  // Into the storage, because a tab may be closed before it could tell. "painted": at least one frame later.
  const tab = Math.random()
  let count = 0
  const record = (what, toast) =>
    localStorage.setItem(`test ${what} ${tab} ${count++}`, toast.querySelector("p").textContent)
  new MutationObserver(changes => {
    for (const node of changes.flatMap(change => [...change.addedNodes])) {
      if (!node.classList?.contains("telltale-toast")) continue
      record("inserted", node)
      const { port1, port2 } = new MessageChannel()
      port1.onmessage = () => record("painted", node)
      port2.postMessage(null)
    }
  }).observe(document, { childList: true, subtree: true })
"""
RECORDS = """
  what => Object.keys(localStorage).filter(key => key.startsWith(`test ${what}`)).map(key => localStorage[key])
"""


@pytest.mark.parametrize("number", range(ROUNDS))
@pytest.mark.timeout(400)
def test_of_the_notices_of_tabs_that_close_reload_and_lose_the_server_none_is_lost_and_none_is_shown_twice(
    site: Site, open_context: Callable[..., BrowserContext], number: int
) -> None:
    transport = list(TRANSPORTS)[number % len(TRANSPORTS)]
    print(f"round {number}: TELLTALE_SEED={SEED}, over {transport}")  # noqa: T201 (pytest shows it if the test fails)
    context = open_context()
    for script in [*TRANSPORTS[transport], RECORD]:
        context.add_init_script(script)
    history = History(site, context, random.Random(SEED + number))
    history.run()
    history.heal()
    print(*history.log, sep="\n")  # noqa: T201 (likewise)
    inserted, painted = history.records("inserted"), history.records("painted")
    assert [text for text in history.texts if inserted[text] == 0] == []
    assert [text for text in history.texts if painted[text] > 1] == []


class History:
    """One browser with some tabs, in which Ada is signed in."""

    def __init__(self, site: Site, context: BrowserContext, chance: random.Random) -> None:
        self.site, self.context, self.chance = site, context, chance
        self.texts: list[str] = []
        self.log: list[str] = []
        self.is_healed = False
        self._held: list[Route] = []
        site.rows("UPDATE telltale_storednotice SET shown_at = 0 WHERE shown_at IS NULL")
        first = context.new_page()
        first.goto("/")
        first.get_by_role("button", name="Ada").click()
        expect(first.locator(".who strong")).to_have_text("Ada")
        [(self._user_id,)] = site.rows("SELECT id FROM auth_user WHERE username = 'ada'")
        context.route("**/take/", self._on_take)

    # What may happen -----------------------------------------------------------------------------

    def run(self) -> None:
        steps = [self.notify, self.notify, self.open, self.open, self.close, self.reload, self.dismiss, self.let_go]
        plan = [self.chance.choice(steps) for _ in range(STEPS)]
        plan.insert(self.chance.randrange(STEPS), self.restart)
        for step in [self.notify, *plan]:
            self.log.append(step.__name__)
            with contextlib.suppress(Error):  # The server is away.
                step()
            self._wait_ms(self.chance.uniform(0, 600))

    def notify(self) -> None:
        """Two notices that stay until dismissed; the pages find them when they read again."""
        for _ in range(2):
            self.texts.append(f"Notice {len(self.texts) + 1}")
            self.site.rows(
                INSERT,
                uuid.uuid4().hex,
                f"user:{self._user_id}",
                "warning",
                self.texts[-1],
                time.time(),
            )

    def open(self) -> None:
        if len(self.context.pages) < MOST_TABS:
            self.context.new_page().goto("/", wait_until="commit")

    def close(self) -> None:
        if len(self.context.pages) > 1:  # Playwright needs one that handles its events.
            self._any_page().close()

    def reload(self) -> None:
        self._any_page().reload(wait_until="commit")

    def dismiss(self) -> None:
        self._dismiss_all(self._any_page())

    def restart(self) -> None:
        self.site.stop_web()
        try:
            self._wait_ms(self.chance.uniform(0, 2_000))
        finally:
            self.site.start_web()

    def let_go(self) -> None:
        """Let the requests go that were held on the way."""
        for route in self._held:
            with contextlib.suppress(Error):  # Its page was closed.
                route.continue_()
        self._held.clear()

    def _on_take(self, route: Route) -> None:
        """A request that takes or confirms may be lost, or its answer; it may be late, or refused by a proxy."""
        fate = "passes" if self.is_healed else self.chance.choice(FATES)
        self.log.append(f"{fate}: {route.request.post_data}")
        with contextlib.suppress(Error):
            match fate:
                case "is lost":
                    route.abort()
                case "has no answer":
                    route.fetch(timeout=5_000)
                    route.abort()
                case "gets 502":
                    route.fulfill(status=502, body="bad gateway")
                case "is late":
                    self._held.append(route)
                case _:
                    route.continue_()

    # The end -------------------------------------------------------------------------------------

    def heal(self) -> None:
        """From now on nothing is lost, and a person looks at one tab until all notices are stored as shown."""
        self.is_healed = True
        self.let_go()
        while len(self.context.pages) > 1:
            self.context.pages[-1].close()
        [page] = self.context.pages
        if page.url == "about:blank" or "chrome-error" in page.url:
            page.goto("/")
        page.wait_for_load_state()
        if not page.evaluate("Boolean(customElements.get('task-toasts'))"):
            page.reload()  # The server stopped before it had sent all modules.
        wait_until_live(page)

        def are_all_shown() -> bool:
            self._dismiss_all(page)
            return self.site.rows("SELECT count(*) FROM telltale_storednotice WHERE shown_at IS NULL") == [(0,)]

        wait_until(page, are_all_shown)

    def records(self, what: str) -> Counter[str]:
        """Return how often each text was inserted or painted, in all tabs."""
        return Counter(self.context.pages[0].evaluate(RECORDS, what))

    # Helpers -------------------------------------------------------------------------------------

    def _any_page(self) -> Page:
        return self.chance.choice(self.context.pages)

    def _wait_ms(self, ms: float) -> None:
        self.context.pages[0].wait_for_timeout(ms)

    def _dismiss_all(self, page: Page) -> None:
        page.evaluate("document.querySelectorAll('.telltale-dismiss').forEach(button => button.click())")
