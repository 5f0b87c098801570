/**
 * The last rung: asking. The server holds the answer until there is something newer, where it can.
 * The contract of a transport is told in websocket.js.
 */
import { decode } from "telltale/live/event-stream.js"
import { refuse } from "telltale/live/sse.js"

/** How long the server may hold an answer. The first is asked for at once: it proves the rung. */
const HOLD_S = 25
const GRACE_MS = 10_000
/** Never faster than this, whatever the server says. */
const LEAST_MS = 100

/**
 * @param {import("telltale/live/websocket.js").Line} line
 * @param {{fetch: typeof fetch, setTimeout: typeof setTimeout, clearTimeout: typeof clearTimeout}} [env]
 * @returns {import("telltale/live/websocket.js").OpenLine}
 */
export function polling(line, env = globalThis) {
  const life = new AbortController()
  let wake = () => {}
  const pause = ms =>
    new Promise(resolve => {
      const timer = env.setTimeout(resolve, ms)
      wake = () => (env.clearTimeout(timer), resolve())
    })

  async function run() {
    for (let hold = 0; !life.signal.aborted; hold = HOLD_S) {
      const message = await ask(line, env, life.signal, hold)
      if (!message || life.signal.aborted) return
      line.hear(message)
      await pause(Math.max(LEAST_MS, (message.poll_after_s ?? 0) * 1000))
    }
  }

  run().catch(() => {}).then(() => life.signal.aborted || line.end())
  return {
    renew: () => true, // the next question brings it
    nudge: () => wake(),
    close() {
      life.abort()
      wake()
    },
  }
}

async function ask(line, env, signal, hold) {
  const patience = new AbortController()
  const giveUp = () => patience.abort()
  const timer = env.setTimeout(giveUp, hold * 1000 + GRACE_MS)
  signal.addEventListener("abort", giveUp, { once: true })
  try {
    const answer = await env.fetch(line.url, {
      method: "POST",
      headers: {
        Accept: "application/json",
        Authorization: `Bearer ${line.ticket()}`,
        "Content-Type": "application/json",
      },
      body: JSON.stringify({ have: line.have(), seen: line.seen(), wait_s: hold }),
      cache: "no-store",
      credentials: "omit",
      signal: patience.signal,
    })
    if (!answer.ok) return await refuse(line, answer)
    return decode(await answer.text())
  } finally {
    env.clearTimeout(timer)
    signal.removeEventListener("abort", giveUp)
  }
}
