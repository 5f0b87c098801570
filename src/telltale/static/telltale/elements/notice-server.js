/**
 * What a `NoticeQueue` needs of the server and the browser: takes and confirms notices, and waits for frames.
 *
 * All queues of the page share its receipts.
 */
import { browserStorage } from "telltale/browser-storage.js"
import { Receipts } from "telltale/elements/receipts.js"
import { confirmNotice, takeNotice } from "telltale/requests.js"
/** @import { Display, NoticeQueue } from "telltale/elements/notice-queue.js" */
/** @import { Live } from "telltale/live/live.js" */

/** @type {Receipts | null} */
let receipts = null

/**
 * @param {Live} live the page's
 * @returns {Pick<Display, "nextPaint" | "afterPaint" | "wasShown" | "take" | "onPainted" | "onDecided">}
 */
export function noticeServer(live) {
  const shown = (receipts ??= pageReceipts(live))
  const holder = randomName()
  return {
    // A hidden page paints no frame: this waits until a notice can be seen.
    nextPaint: () => new Promise(resolve => requestAnimationFrame(() => resolve())),
    afterPaint: () => new Promise(resolve => afterTask(resolve)),
    wasShown: id => shown.has(id),
    take: id => takeNotice(live, id, holder),
    onPainted: id => shown.add(id, holder),
    onDecided: id => {
      live.forgetNotice(id)
      if (shown.has(id)) shown.sendNow() // by a page that may be closed now
    },
  }
}

/** @param {Live} live */
function pageReceipts(live) {
  const found = new Receipts(browserStorage(), (id, holder) => confirmNotice(live, id, holder), {
    setTimeout: (callback, ms) => setTimeout(callback, ms),
    clearTimeout: timer => clearTimeout(timer),
    random: Math.random,
    wallNow: Date.now,
    canSend: () => live.state !== "signed out",
  })
  live.states(() => found.sendNow())
  found.sendNow()
  return found
}

/**
 * The browser's time and chance, as a `NoticeQueue` takes them.
 * @returns {ConstructorParameters<typeof NoticeQueue>[1]}
 */
export const queueEnvironment = () => ({
  setTimeout: (callback, ms) => setTimeout(callback, ms),
  clearTimeout: timer => clearTimeout(timer),
  random: Math.random,
  now: () => performance.now(),
  wallNow: Date.now,
})

/** A name that no other page can guess. Not `randomUUID`, which browsers offer to https pages only. */
const randomName = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), byte => byte.toString(36)).join("-")

/**
 * Call back in the next task: after the frame, if this is called as a frame begins.
 * @param {() => void} callback
 */
function afterTask(callback) {
  const { port1, port2 } = new MessageChannel()
  port1.onmessage = () => {
    port1.close()
    callback()
  }
  port2.postMessage(null)
}
