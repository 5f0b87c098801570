/** The transport by server-sent events: `fetch` with a streamed body. */
import { EventStream } from "telltale/live/event-stream.js"
import { passOnBye, post } from "telltale/live/http.js"
import { decode } from "telltale/live/protocol.js"
/** @import { FetchEnv } from "telltale/limited-fetch.js" */
/** @import { OpenTransport, TransportOptions } from "telltale/live/transports.js" */

/** The longest silence; the server pings every 15 s, and `live.js` gives up earlier. */
const SILENCE_MS = 60_000

/**
 * @param {TransportOptions} options
 * @param {FetchEnv} env
 * @returns {OpenTransport}
 */
export function sse(options, env) {
  const closing = new AbortController()
  const { signal } = closing
  const request = {
    accept: "text/event-stream",
    body: { have: options.have() },
    signal,
    limitMs: SILENCE_MS,
    read: (/** @type {Response} */ response, /** @type {() => void} */ onPart) =>
      readStream(options, response, signal, onPart),
  }
  // A failure counts as an end.
  post(options, env, request).catch(() => {}).then(() => signal.aborted || options.onEnd())
  return { updateTicket: () => false, close: () => closing.abort() }
}

/**
 * Read until the stream ends or `signal` aborts.
 * @param {TransportOptions} options
 * @param {Response} response
 * @param {AbortSignal} signal
 * @param {() => void} onPart
 */
async function readStream(options, response, signal, onPart) {
  const isStream = response.headers.get("Content-Type")?.startsWith("text/event-stream")
  if (!response.ok || !isStream || !response.body) return passOnBye(options, response)
  const reader = response.body.getReader()
  const decoder = new TextDecoder()
  const events = new EventStream()
  for (;;) {
    const { done, value } = await reader.read()
    if (done || signal.aborted) return
    onPart()
    for (const data of events.push(decoder.decode(value, { stream: true }))) {
      const message = decode(data)
      if (message && !signal.aborted) options.onMessage(message)
    }
  }
}
