/**
 * The transport that works everywhere: one request after another. Where the server can, it holds each answer until
 * there is news.
 */
import { passOnRefusal, post } from "telltale/live/http.js"
import { decode } from "telltale/live/protocol.js"
import { isRefusal } from "telltale/refusal.js"
/** @import { Environment } from "telltale/live/live.js" */
/** @import { OpenTransport, TransportOptions } from "telltale/live/transports.js" */

/** How long the server may hold an answer. The first answer comes at once: it establishes the connection. */
const HOLD_S = 25
/** How much longer than that an answer may take before the request is given up. */
const GRACE_MS = 10_000
/** The shortest pause between two requests, whatever the server says. */
const SHORTEST_PAUSE_MS = 100

/** @typedef {Pick<Environment, "fetch" | "setTimeout" | "clearTimeout">} Env */

/**
 * @param {TransportOptions} options
 * @param {Env} env
 * @returns {OpenTransport}
 */
export function polling(options, env) {
  const closing = new AbortController()
  let endPause = () => {}
  let restart = new AbortController()
  /**
   * @param {number} ms
   * @returns {Promise<void>}
   */
  const pause = ms =>
    new Promise(resolve => {
      const timer = env.setTimeout(resolve, ms)
      endPause = () => {
        env.clearTimeout(timer)
        resolve()
      }
    })

  async function poll() {
    for (let holdS = 0; !closing.signal.aborted; holdS = HOLD_S) {
      restart = new AbortController()
      const { signal } = restart
      const message = await requestPoll(options, env, signal, holdS).catch(error => {
        if (!signal.aborted) throw error
        return null
      })
      if (closing.signal.aborted || (!message && !signal.aborted)) return
      // An answer that came before the restart counts: its events come only once.
      if (message) options.onMessage(message)
      if (!signal.aborted) await pause(Math.max(SHORTEST_PAUSE_MS, (message?.poll_after_s ?? 0) * 1000))
    }
  }

  // A failure counts as an end.
  poll().catch(() => {}).then(() => closing.signal.aborted || options.onEnd())
  return {
    updateTicket(_ticket, isChanged) {
      // The next request has it; one that is held would not bring what was added.
      if (isChanged) {
        restart.abort()
        endPause()
      }
      return true
    },
    pollNow: () => endPause(),
    close() {
      closing.abort()
      restart.abort()
      endPause()
    },
  }
}

/**
 * One poll: the server's answer, or null if it refused. A refusal's `bye` goes to `onMessage`.
 * @param {TransportOptions} options
 * @param {Env} env
 * @param {AbortSignal} signal
 * @param {number} holdS how long the server may hold the answer
 */
export async function requestPoll(options, env, signal, holdS) {
  return post(options, env, {
    accept: "application/json",
    body: { have: options.have(), seen: options.seen(), wait_s: holdS },
    signal,
    limitMs: holdS * 1000 + GRACE_MS,
    read: async response => {
      if (response.ok && !isRefusal(response)) return decode(await response.text())
      await passOnRefusal(options, response)
      return null
    },
  })
}
