/** The button "Tell me when it's done" of a `<task-progress>`. It needs scripts, so the server does not render it. */
import { setAttribute, setText } from "telltale/elements/dom.js"
import { announce } from "telltale/elements/live-regions.js"
import { pageText } from "telltale/elements/page-text.js"
import { pageNotifications } from "telltale/notifications/page-notifications.js"
/** @import { TaskElement } from "telltale/elements/task-element.js" */
/** @import { Live } from "telltale/live/live.js" */
/** @import { Snapshot } from "telltale/live/snapshots.js" */

/** The button is offered for a task that has taken this long, or has this long left. */
const LONG_S = 5

/** The browser takes a fifth of a millisecond to say what it permits, so it is not asked at every update. */
const KEPT_MS = 1_000
let known = { isOn: false, isOffered: false, askedAt: -Infinity }

/** Whether notifications are on, and whether they are offered. */
function notificationsNow() {
  const now = performance.now()
  if (now - known.askedAt >= KEPT_MS) {
    const { isOn, isOffered } = pageNotifications()
    known = { isOn, isOffered, askedAt: now }
  }
  return known
}

/**
 * Show whether notifications are on. Returns whether to show the button: only the task's owner is told of its end.
 * @param {HTMLElement} button
 * @param {TaskElement} element its attribute `notify` may be "always" or "never"
 * @param {Snapshot} snapshot
 * @param {number} now
 */
export function updateTellButton(button, element, snapshot, now) {
  const { isOn, isOffered } = notificationsNow()
  setText(button, pageText().message("tell_me"))
  setAttribute(button, "aria-pressed", String(isOn))
  const wanted = element.getAttribute("notify")
  if (snapshot.ended || !element.mine || wanted === "never" || !isOffered) return false
  return wanted === "always" || isLong(snapshot, now)
}

/**
 * @param {Snapshot} snapshot
 * @param {number} now
 */
function isLong({ created_at, remaining_s }, now) {
  return now - created_at >= LONG_S || (remaining_s ?? 0) >= LONG_S
}

/**
 * Turn notifications on or off when the visitor clicks the button.
 * @param {TaskElement} element
 * @param {Live} live the page's
 * @param {object} options
 * @param {AbortSignal} options.signal
 * @param {() => void} options.onChange
 * @param {(text: string) => void} options.onError called with "" after a success
 */
export function watchTellButton(element, live, { signal, onChange, onError }) {
  const update = () => {
    known.askedAt = -Infinity
    onChange()
    if (pageNotifications().isOn) startNotifying(live)
  }
  pageNotifications().listen(update, signal)
  if (pageNotifications().isOn) startNotifying(live)
  const onClick = async (/** @type {Event} */ { target }) => {
    if (!(target instanceof Element && target.closest(".telltale-tell"))) return
    const outcome = await pageNotifications().toggle()
    if (!outcome) return
    const text = pageText().message(outcome)
    const isBad = outcome === "notifications_blocked" || outcome === "notifications_failed"
    onError(isBad ? text : "")
    if (!isBad) announce(`${element.task} notifications`, text)
  }
  element.addEventListener("click", onClick, { signal })
}

/**
 * Show notifications from now on. Their module is loaded here, because few visitors turn them on.
 * @param {Live} live
 */
async function startNotifying(live) {
  try {
    const { notifyWhileHidden } = await import( "telltale/elements/notices.js")
    notifyWhileHidden(live)
  } catch {
    // The server can't be reached, so no notice arrives either. The next change or page tries again.
  }
}
