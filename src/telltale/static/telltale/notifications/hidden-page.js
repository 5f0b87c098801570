/**
 * Shows the visitor's notices as browser notifications while this page is hidden, if the visitor has turned them on.
 *
 * The notices are taken and confirmed as for toasts (`elements/notice-queue.js`), so each is shown once: by one page,
 * as a toast or as a notification. Visible pages come first.
 */
import { NoticeQueue } from "telltale/elements/notice-queue.js"
import { noticeServer, queueEnvironment } from "telltale/elements/notice-server.js"
import { pageNotifications } from "telltale/notifications/page-notifications.js"
import { showByWorker } from "telltale/notifications/push.js"
import { safeUrl } from "telltale/page.js"
/** @import { Live } from "telltale/live/live.js" */
/** @import { Notice } from "telltale/live/snapshots.js" */

/** A visible page takes a notice within this time. */
const VISIBLE_FIRST_MS = 1_000

let isStarted = false
/** The browser has refused a notification. */
let isRefused = false

/** @param {Live} live the page's */
export function notifyWhileHidden(live) {
  if (isStarted) return
  isStarted = true
  let queue = newQueue(live)
  live.keepWhileHidden(() => pageNotifications().isOn)
  live.notices(notice => {
    // A notice that arrives at another time waits for a toast.
    if (document.hidden && pageNotifications().isOn) setTimeout(() => queue.add(notice), VISIBLE_FIRST_MS)
  })
  live.states(() => queue.retryNow())
  document.addEventListener("visibilitychange", () => {
    queue.stop() // Notices that it has not shown wait for a toast.
    queue = newQueue(live)
  })
}

/** @param {Live} live */
function newQueue(live) {
  const isReachable = () => ["live", "polling"].includes(live.state)
  return new NoticeQueue(
    {
      isReady: () => document.hidden && !isRefused && pageNotifications().isOn && isReachable(),
      hasRoom: () => true,
      isShownElsewhere: () => false,
      ...noticeServer(live),
      // A hidden page paints no frame.
      nextPaint: async () => {},
      afterPaint: async () => {},
      show,
      onChange: () => {},
    },
    queueEnvironment(),
  )
}

/** @param {Notice} notice */
function show({ id, text, url }) {
  // By the tag, a browser that also gets the notice by push shows it once.
  const options = { tag: `telltale-${id}`, lang: document.documentElement.lang }
  try {
    const notification = new Notification(text, options)
    notification.onclick = () => {
      notification.close()
      open(safeUrl(url))
    }
    return true
  } catch {
    isRefused = !showByWorker(text, { ...options, data: { url } })
    return !isRefused
  }
}

/** @param {string | null} url of the notice; opened in another tab, because this page may have unsaved input */
function open(url) {
  const target = url && new URL(url, location.href)
  const isHere = target && target.origin === location.origin && target.pathname === location.pathname
  if (target && !isHere) globalThis.open(target.href)
  else globalThis.focus()
}
