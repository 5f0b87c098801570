/**
 * Signatures for private channels, from the site's view: one request for all channels that are subscribed together.
 *
 * pusher-js would send one for each channel.
 */
import { ANSWER_MS, limitedFetch } from "telltale/limited-fetch.js"
import { csrfToken } from "telltale/page.js"
import { REDIRECT, isRefusal } from "telltale/refusal.js"
/** @import { FetchEnv } from "telltale/limited-fetch.js" */
/** @import { Page } from "telltale/page.js" */

/**
 * @typedef {{socketId: string, channelName: string}} Params
 * @typedef {(error: Error | null, signature: object | null) => void} Callback
 */

export class Authorizer {
  /** @type {FetchEnv} the page's, set by the transport */
  env
  #url
  #page
  /** @type {Map<string, [string, Callback][]>} channels and callbacks of the next request, by socket id */
  #waiting = new Map()
  /** @type {Set<string>} channels that the site has refused, and not an outage */
  #refused = new Set()

  /**
   * @param {string} url
   * @param {Pick<Page, "csrf">} page
   */
  constructor(url, page) {
    this.#url = url
    this.#page = page
  }

  /**
   * Whether the site's last answer for this channel was a refusal.
   * @param {string} channel
   */
  hasRefused(channel) {
    return this.#refused.has(channel)
  }

  /**
   * The handler for pusher-js, which calls it for one channel after another.
   * @param {Params} params
   * @param {Callback} callback
   */
  authorize = ({ socketId, channelName }, callback) => {
    const batch = this.#waiting.get(socketId) ?? []
    if (!batch.length) queueMicrotask(() => this.#send(socketId))
    this.#waiting.set(socketId, [...batch, [channelName, callback]])
  }

  /** @param {string} socketId */
  async #send(socketId) {
    const batch = this.#waiting.get(socketId) ?? []
    this.#waiting.delete(socketId)
    const names = batch.map(([name]) => name)
    for (const name of names) this.#refused.delete(name)
    const signatures = await this.#request(socketId, names).catch(() => null)
    for (const [name, callback] of batch) {
      const signature = signatures?.[name]
      if (signature) callback(null, signature)
      else {
        if (signatures) this.#refused.add(name)
        callback(new Error(`telltale: no signature for ${name}.`), null)
      }
    }
  }

  /**
   * The signatures by channel, without the refused ones. Rejects in an outage.
   * @param {string} socketId
   * @param {string[]} names
   * @returns {Promise<Object<string, object>>}
   */
  async #request(socketId, names) {
    const body = new URLSearchParams([["socket_id", socketId], ...names.map(name => ["channel_name", name])])
    /** @type {RequestInit} */
    const init = {
      method: "POST",
      headers: { Accept: "application/json", "X-CSRFToken": csrfToken(this.#page) },
      body,
      credentials: "same-origin",
      cache: "no-store",
      redirect: REDIRECT,
    }
    return limitedFetch(this.#url, init, {
      limitMs: ANSWER_MS,
      env: this.env,
      read: async response => {
        if (isRefusal(response)) return {}
        if (!response.ok) throw new Error(`The request for signatures was answered with ${response.status}.`)
        const answer = await response.json()
        return names.length === 1 ? { [names[0]]: answer } : answer.channels
      },
    })
  }
}
