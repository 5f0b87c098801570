/**
 * The public door: `import { connect } from "telltale"`.
 *
 * One connection a page, however many elements and scripts ask for it; it is opened by the first that follows
 * something. The page's life (hidden, left, back again, offline) is passed on to it here.
 */
import { Live } from "telltale/live/live.js"
import { readPage } from "telltale/page.js"
import { protocolOf, rungsOver } from "telltale/live/transports.js"

/** @type {?Live} */
let shared = null

/**
 * This page's connection.
 *
 *     const live = connect()
 *     live.task(id, snapshot => …)
 *     live.topic("project:7", event => …)
 *
 * @returns {Live}
 */
export function connect() {
  if (!shared) {
    shared = new Live(readPage(), { rungs: rungsOver(protocolOf()), env: browser() })
    attend(shared)
  }
  return shared
}

/** What the connection needs of the browser. */
const browser = () => ({
  WebSocket: globalThis.WebSocket,
  fetch: (...request) => fetch(...request),
  setTimeout: (then, ms) => setTimeout(then, ms),
  clearTimeout: timer => clearTimeout(timer),
  random: Math.random,
  now: () => Date.now() / 1000,
  isOnline: () => navigator.onLine !== false,
  absolute: address => new URL(address, location.href).href,
})

/** @param {Live} live */
function attend(live) {
  document.addEventListener("visibilitychange", () => (document.hidden ? live.hide() : live.wake()))
  addEventListener("online", () => live.wake())
  addEventListener("offline", () => live.lose())
  // An open line would keep the page out of the browser's memory of pages, or be cut there unseen.
  addEventListener("pagehide", () => live.leave())
  addEventListener("pageshow", event => event.persisted && live.wake())
}

export { Live } from "telltale/live/live.js"
