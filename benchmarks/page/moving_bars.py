"""What moving bars cost the browser: script for each update, and CPU of the page's process."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from playwright.sync_api import Browser, CDPSession

from tests.demo.site import Site

UPDATES_PER_S: Final = 10
WARM_UP_MS: Final = 2_000
MEASURED_MS: Final = 8_000
BARS: Final = """
  async ({ count, everyMs }) => {
    const { connect } = await import("telltale")
    const live = connect()
    const created = live.now
    const snapshot = (n, seq) => ({
      id: `00000000-0000-4000-8000-${String(n).padStart(12, "0")}`, attempt: 1, ended: false, seq, state: "running",
      label: `Import ${n}`, error: null, reference: null, result: null, has_return_value: false, created_at: created,
      started_at: created, moved_at: live.now, beat_at: live.now, ended_at: null, due_at: null, ahead: null,
      is_listening: null, missing_since: null, remaining_s: 600 - seq / 10, remaining_spread: 0.1, usual_s: null,
      cancel_requested: false, no_cancel: null,
      progress: { fraction: ((seq + n) % 1000) / 1000, current: seq * 37 + n, total: 1234567, unit: "rows",
        message: "", stage: "", step: 0, steps: null },
    })
    window.updates = 0
    const send = () => {
      const seq = (window.seq = (window.seq ?? 0) + 1)
      live.receive({ tasks: Array.from({ length: count }, (_, n) => snapshot(n, seq)) })
      window.updates += count
    }
    send()
    document.querySelector("main").append(...Array.from({ length: count }, (_, n) => {
      const bar = document.createElement("task-progress")
      bar.setAttribute("task", snapshot(n, 0).id)
      bar.setAttribute("mine", "")
      return bar
    }))
    setInterval(send, everyMs)
  }
"""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """The figures of one number of bars."""

    bars: int
    script_per_update_s: float
    """By the browser's clock, so other load on the machine adds to it. Includes the making of the messages."""
    cpu_share: float
    """CPU time of the page's process, as a share of one core."""


def measure(browser: Browser, site: Site, bars: int) -> Cost:
    """Show `bars` bars in a window that has room for some of them, and move all of them."""
    context = browser.new_context(base_url=site.url, viewport={"width": 1_280, "height": 800})
    page = context.new_page()
    page.goto("/")
    metrics, processes = context.new_cdp_session(page), browser.new_browser_cdp_session()
    metrics.send("Performance.enable")
    page.evaluate(BARS, {"count": bars, "everyMs": 1_000 / UPDATES_PER_S})
    page.wait_for_timeout(WARM_UP_MS)
    before = _figures(metrics), _cpu(processes), page.evaluate("updates"), page.evaluate("performance.now()")
    page.wait_for_timeout(MEASURED_MS)
    after = _figures(metrics), _cpu(processes), page.evaluate("updates"), page.evaluate("performance.now()")
    context.close()
    script_s = after[0]["ScriptDuration"] - before[0]["ScriptDuration"]
    cpu_s = max(seconds - before[1].get(process, 0.0) for process, seconds in after[1].items())
    return Cost(
        bars=bars,
        script_per_update_s=script_s / (after[2] - before[2]),
        cpu_share=cpu_s / ((after[3] - before[3]) / 1_000),
    )


def _figures(session: CDPSession) -> Mapping[str, float]:
    metrics = session.send("Performance.getMetrics")["metrics"]
    return {metric["name"]: metric["value"] for metric in metrics}


def _cpu(session: CDPSession) -> Mapping[int, float]:
    """Return the CPU seconds of the processes that run pages, by process."""
    processes = session.send("SystemInfo.getProcessInfo")["processInfo"]
    return {process["id"]: process["cpuTime"] for process in processes if process["type"] == "renderer"}
