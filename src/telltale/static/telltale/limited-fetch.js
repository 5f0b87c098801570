/**
 * The only place that calls `fetch`: every request has a time limit, until its answer is read.
 *
 * A server that hangs and a network that drops packets send no error, so without a limit a request would wait for
 * minutes or for ever, and the page with it.
 */

/** For requests that the server answers at once, however slow the network is. */
export const ANSWER_MS = 15_000
/** For actions, for which the server may have to ask the runner. */
export const ACTION_MS = 30_000

/**
 * @typedef {object} FetchEnv
 * @property {(url: string, init: RequestInit) => Promise<Response>} fetch
 * @property {(callback: () => void, ms: number) => any} [setTimeout]
 * @property {(timer: any) => void} [clearTimeout]
 */

/** The time limit of a request is over. Nothing is known about whether the server has carried it out. */
export class TimedOut extends Error {}

/**
 * Send a request and read its answer. Rejects with `TimedOut` if no part of the answer arrives for `limitMs`.
 *
 * @template T
 * @param {string} url
 * @param {RequestInit} init
 * @param {object} options
 * @param {number} options.limitMs
 * @param {(response: Response, onPart: () => void) => Promise<T>} options.read reads the answer; if it takes parts of it,
 *   it calls `onPart` for each, which starts the limit again
 * @param {AbortSignal} [options.signal] ends the request earlier
 * @param {FetchEnv} [options.env]
 * @returns {Promise<T>}
 */
export async function limitedFetch(url, init, { limitMs, read, signal, env = globalThis }) {
  const { fetch, setTimeout = globalThis.setTimeout, clearTimeout = globalThis.clearTimeout } = env
  const controller = new AbortController()
  /** @type {any} */
  let timer
  /** @type {(error: Error) => void} */
  let fail = () => {}
  // Raced with the answer, because not everything that reads it ends by `abort`.
  const timeout = new Promise((_resolve, reject) => (fail = reject))
  const abort = () => controller.abort()
  const restart = () => {
    clearTimeout(timer)
    timer = setTimeout(() => {
      fail(new TimedOut(`No answer within ${limitMs / 1000} s.`))
      abort()
    }, limitMs)
  }
  const send = async () => read(await fetch(url, { ...init, signal: controller.signal }), restart)

  restart()
  signal?.addEventListener("abort", abort, { once: true })
  if (signal?.aborted) abort()
  try {
    return await Promise.race([timeout, send()])
  } finally {
    clearTimeout(timer)
    signal?.removeEventListener("abort", abort)
  }
}
