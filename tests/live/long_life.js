/**
 * A page's long life, without a browser: the page's own modules follow one task after another on a real server.
 *
 * Arguments: the site, the transport, and a topic that is followed all the time. The ids of the tasks come by stdin, one
 * a line. Prints a line of JSON when all were seen, and ends when stdin does.
 */
import { createInterface } from "node:readline"

import { Live } from "telltale/live/live.js"
import { polling } from "telltale/live/polling.js"
import { sse } from "telltale/live/sse.js"
import { websocket } from "telltale/live/websocket.js"

const [, , site, transport, kept] = process.argv
const CSRF = "a".repeat(32)
let mostTopics = 0
let tickets = 0

const env = {
  WebSocket: globalThis.WebSocket,
  fetch: (url, options) => {
    if (url.endsWith("/ticket/")) {
      tickets += 1
      mostTopics = Math.max(mostTopics, JSON.parse(options.body).topics.length)
    }
    return fetch(url, { ...options, headers: { ...options.headers, Cookie: `csrftoken=${CSRF}` } })
  },
  // Only what gathers calls is quicker than in a browser.
  setTimeout: (callback, ms) => setTimeout(callback, ms < 100 ? ms / 10 : ms),
  clearTimeout: timer => clearTimeout(timer),
  random: Math.random,
  now: () => Date.now() / 1000,
  wallNow: () => Date.now() / 1000,
  isOnline: () => true,
  absoluteUrl: address => address,
}
const page = {
  ticket: "",
  topics: [],
  expires_at: 0,
  now: env.now(),
  limits: { quiet_s: 60, stalled_s: 45, lease_s: 105 },
  urls: { live: `${site}/telltale/live/`, ticket: `${site}/telltale/ticket/` },
  csrf: { token: CSRF, cookie: null },
}
const live = new Live(page, { transports: [{ websocket, sse, polling }[transport]], env })
const refused = []
live.topic(kept, () => {}, { onGranted: isGranted => isGranted || refused.push(kept) })

/** Follow a task until its snapshot is here, as a bar does that is soon replaced by the next one. */
const see = id =>
  new Promise(resolve => {
    const controller = new AbortController()
    const onGranted = isGranted => isGranted || refused.push(id)
    const onSnapshot = () => {
      // Later, because the signal has to exist; and a bar leaves the page when its snapshot is drawn.
      queueMicrotask(() => {
        controller.abort()
        resolve()
      })
    }
    live.task(id, onSnapshot, { signal: controller.signal, onGranted })
  })

let seen = 0
for await (const id of createInterface({ input: process.stdin })) {
  if (id === "that is all") {
    const open = [...live.snapshots.values()].filter(task => !task.ended).length
    console.log(JSON.stringify({ seen, refused, state: live.state, mostTopics, tickets, open }))
  } else {
    await see(id)
    seen += 1
  }
}
process.exit()
