/**
 * The public module: `import { connect } from "telltale"`.
 *
 * A page has one connection, for all its elements and scripts. It opens when something is first followed. This module
 * passes on when the page is hidden, left, restored or offline.
 */
import { Live } from "telltale/live/live.js"
import { pusherTransport } from "telltale/live/pusher.js"
import { pageProtocol, transportsFor } from "telltale/live/transports.js"
import { readPage } from "telltale/page.js"
/** @import { Environment } from "telltale/live/live.js" */

/** @type {Live | null} */
let live = null

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
  if (!live) {
    const page = readPage()
    const pusher = page.pusher ? pusherTransport(page.pusher, page) : null
    live = new Live(page, { transports: transportsFor(pageProtocol(), pusher), env: browserEnvironment() })
    watchPage(live)
  }
  return live
}

/** @returns {Environment} */
const browserEnvironment = () => ({
  WebSocket: globalThis.WebSocket,
  fetch: (...request) => fetch(...request),
  setTimeout: (callback, ms) => setTimeout(callback, ms),
  clearTimeout: timer => clearTimeout(timer),
  random: Math.random,
  now: () => performance.now() / 1000,
  wallNow: () => Date.now() / 1000,
  isOnline: () => navigator.onLine !== false,
  absoluteUrl: address => new URL(address, location.href).href,
})

/** @param {Live} live */
function watchPage(live) {
  document.addEventListener("visibilitychange", () => (document.hidden ? live.hide() : live.resume()))
  addEventListener("online", () => live.resume())
  addEventListener("offline", () => live.goOffline())
  // An open connection would keep the page out of the back/forward cache, or be cut there without notice.
  addEventListener("pagehide", () => live.suspend())
  addEventListener("pageshow", event => event.persisted && live.resume())
}

export { Live } from "telltale/live/live.js"
