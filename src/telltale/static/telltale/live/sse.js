/** The transport by server-sent events: `fetch` with a streamed body. */
import { EventStream } from "telltale/live/event-stream.js"
import { passOnBye, post } from "telltale/live/http.js"
import { decode } from "telltale/live/protocol.js"
/** @import { OpenTransport, TransportOptions } from "telltale/live/transports.js" */

/**
 * @param {TransportOptions} options
 * @param {{fetch: typeof fetch}} env
 * @returns {OpenTransport}
 */
export function sse(options, env) {
  const closing = new AbortController()
  // A failure counts as an end.
  readStream(options, env, closing.signal).catch(() => {}).then(() => closing.signal.aborted || options.onEnd())
  return { updateTicket: () => false, close: () => closing.abort() }
}

/**
 * Read until the stream ends or `signal` aborts.
 * @param {TransportOptions} options
 * @param {{fetch: typeof fetch}} env
 * @param {AbortSignal} signal
 */
async function readStream(options, env, signal) {
  const response = await post(options, env, { accept: "text/event-stream", body: { have: options.have() }, signal })
  const isStream = response.headers.get("Content-Type")?.startsWith("text/event-stream")
  if (!response.ok || !isStream || !response.body) return passOnBye(options, response)
  const reader = response.body.getReader()
  const decoder = new TextDecoder()
  const events = new EventStream()
  for (;;) {
    const { done, value } = await reader.read()
    if (done || signal.aborted) return
    for (const data of events.push(decoder.decode(value, { stream: true }))) {
      const message = decode(data)
      if (message && !signal.aborted) options.onMessage(message)
    }
  }
}
