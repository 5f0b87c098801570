/**
 * The public module: `import { connect } from "telltale"`.
 *
 * A page has one connection, for all its elements and scripts. It opens when something is first followed. This module
 * passes on when the page is hidden, left, restored or offline.
 */
import { firstAnswer } from "telltale/live/first-answer.js"
import { lazyTransport } from "telltale/live/lazy-transport.js"
import { Live } from "telltale/live/live.js"
import { pageProtocol, transportsFor } from "telltale/live/transports.js"
import { readPage, usePage } from "telltale/page.js"
import { fetchPage } from "telltale/requests.js"
/** @import { Environment } from "telltale/live/live.js" */
/** @import { Service } from "telltale/live/pusher.js" */
/** @import { Transport } from "telltale/live/transports.js" */
/** @import { Page } from "telltale/page.js" */

/** pusher-js may need some seconds: it tries HTTP when WebSockets don't work, and each channel needs a signature. */
const PUSHER_ESTABLISH_MS = 10_000

/** Where the page keeps its connection: a site's own bundle may contain this module a second time. */
const PLACE = Symbol.for("telltale.live")
const shared = /** @type {{[PLACE]?: Live}} */ (globalThis)

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
  return (shared[PLACE] ??= open())
}

/**
 * Load the page's data, for a page that Django does not render. Wait for it before you import the elements or call
 * `connect`. Rejects if the server can't be reached or refuses.
 *
 * @param {string} url of `telltale:page`, such as "/telltale/page/"
 * @returns {Promise<void>}
 */
export async function loadPage(url) {
  usePage(await fetchPage(url))
}

function open() {
  const page = readPage()
  const share = (/** @type {Transport} */ open, /** @type {string} */ name) =>
    canShare(page) ? lazyShared(open, name) : open
  const pusher = page.pusher ? lazyTransport(() => loadPusher(page), { establishMs: PUSHER_ESTABLISH_MS }) : null
  const live = new Live(page, { transports: transportsFor(pageProtocol(), pusher, share), env: browserEnvironment() })
  watchPage(live)
  takeFirstAnswer(live)
  return live
}

/** @param {Page} page */
async function loadPusher(page) {
  const { pusherTransport } = await import( "telltale/live/pusher.js")
  return pusherTransport(/** @type {Service} */ (page.pusher), page)
}

/**
 * Whether tabs can share a connection: browsers have locks only on pages with https, and on localhost.
 * @param {Page} page
 */
const canShare = page => Boolean(page.share && page.can_hold && navigator.locks && globalThis.BroadcastChannel)

/**
 * @param {Transport} open
 * @param {string} name
 */
const lazyShared = (open, name) => lazyTransport(() => loadShared(open, name), { isHeld: open.isHeld })

/**
 * @param {Transport} open
 * @param {string} name
 * @returns {Promise<Transport>}
 */
async function loadShared(open, name) {
  try {
    const { shared } = await import( "telltale/sharing/shared.js")
    return shared(open, name, {
      locks: navigator.locks,
      openChannel: channel => new BroadcastChannel(channel),
      newId: () => crypto.randomUUID(),
    })
  } catch {
    return open
  }
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
async function takeFirstAnswer(live) {
  const message = await firstAnswer(live.page.ticket)
  if (message) live.receiveFirst(message)
}

/** @param {Live} live */
function watchPage(live) {
  const hideIfHidden = () => document.hidden && live.hide()
  const resume = () => {
    live.resume()
    hideIfHidden() // The network may come back, or a frozen page may run again, in the background.
  }
  document.addEventListener("visibilitychange", () => (document.hidden ? live.hide() : live.resume()))
  addEventListener("online", resume)
  addEventListener("offline", () => live.goOffline())
  // An open connection would keep the page out of the back/forward cache, or be cut there without notice.
  addEventListener("pagehide", () => live.suspend())
  addEventListener("pageshow", event => event.persisted && resume())
  // A frozen page runs no script: it must not lead other tabs meanwhile.
  document.addEventListener("freeze", () => live.suspend())
  document.addEventListener("resume", resume)
  hideIfHidden() // as in a tab that is opened in the background
}

export { Live } from "telltale/live/live.js"
