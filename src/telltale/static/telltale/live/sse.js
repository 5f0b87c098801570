/**
 * The second rung: server-sent events, by `fetch` and a streamed body, with the ticket in a header.
 * The contract of a transport is told in websocket.js.
 */
import { EventStream, decode } from "telltale/live/event-stream.js"

/**
 * @param {import("telltale/live/websocket.js").Line} line
 * @param {{fetch: typeof fetch}} [env]
 * @returns {import("telltale/live/websocket.js").OpenLine}
 */
export function sse(line, env = globalThis) {
  const life = new AbortController()
  read(line, env, life.signal).catch(() => {}).then(() => life.signal.aborted || line.end())
  return { renew: () => false, close: () => life.abort() }
}

async function read(line, env, signal) {
  const answer = await env.fetch(line.url, {
    method: "POST",
    headers: {
      Accept: "text/event-stream",
      Authorization: `Bearer ${line.ticket()}`,
      "Content-Type": "application/json",
    },
    body: JSON.stringify({ have: line.have() }),
    cache: "no-store",
    credentials: "omit",
    signal,
  })
  const isStream = answer.headers.get("Content-Type")?.startsWith("text/event-stream")
  if (!answer.ok || !isStream) return refuse(line, answer)
  const reader = answer.body.getReader()
  const decoder = new TextDecoder()
  const stream = new EventStream()
  for (;;) {
    const { done, value } = await reader.read()
    if (done || signal.aborted) return
    for (const data of stream.push(decoder.decode(value, { stream: true }))) {
      const message = decode(data)
      if (message && !signal.aborted) line.hear(message)
    }
  }
}

/** A refusal may bring a `bye` that says when to come back. */
export async function refuse(line, answer) {
  const message = decode(await answer.text())
  if (message?.type === "bye") line.hear(message)
}
