/** The requests of event streams and polling, and the server's refusals of them. */
import { limitedFetch } from "telltale/limited-fetch.js"
import { AGAIN, decode } from "telltale/live/protocol.js"
import { REDIRECT, isRefusal } from "telltale/refusal.js"
/** @import { FetchEnv } from "telltale/limited-fetch.js" */
/** @import { TransportOptions } from "telltale/live/transports.js" */

/**
 * POST to the live endpoint, with the ticket in a header: addresses are logged, headers are not.
 * @template T
 * @param {TransportOptions} options
 * @param {FetchEnv} env
 * @param {object} request
 * @param {string} request.accept
 * @param {object} request.body
 * @param {AbortSignal} request.signal
 * @param {number} request.limitMs as in `limitedFetch`
 * @param {(response: Response, onPart: () => void) => Promise<T>} request.read as in `limitedFetch`
 * @returns {Promise<T>}
 */
export function post(options, env, { accept, body, signal, limitMs, read }) {
  /** @type {RequestInit} */
  const init = {
    method: "POST",
    headers: { Accept: accept, Authorization: `Bearer ${options.ticket()}`, "Content-Type": "application/json" },
    body: JSON.stringify(body),
    cache: "no-store",
    credentials: "omit",
    redirect: REDIRECT,
  }
  return limitedFetch(options.url, init, { limitMs, read, signal, env })
}

/**
 * Pass on the `bye` of a refused request, if it has one: it says when to reconnect.
 * @param {TransportOptions} options
 * @param {Response} response
 */
export async function passOnBye(options, response) {
  const message = decode(await response.text())
  if (message?.type === "bye") options.onMessage(message)
}

/**
 * Report that the visitor was refused without a `bye`, by something before the server: a new ticket may help, and if
 * not, only a person can. Only for the last transport: a proxy may refuse the others and let this one through.
 * @param {TransportOptions} options
 * @param {Response} response
 */
export async function passOnRefusal(options, response) {
  const message = decode(await response.text())
  if (message?.type === "bye") options.onMessage(message)
  else if (isRefusal(response)) options.onMessage({ type: "bye", again: AGAIN.NEVER })
}
