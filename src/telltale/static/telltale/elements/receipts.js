/**
 * Receipts: the notices that pages of this browser have shown, and of which the server may not know yet.
 *
 * A receipt is written when the notice has been painted, into the browser's storage, and deleted when the server has
 * answered. So if the page is closed or the server is away meanwhile, the next page sends the receipt, and no page of
 * this browser shows the notice again. Without storage a receipt lasts as long as its page.
 */
import { backoff } from "telltale/live/backoff.js"
/** @import { Environment } from "telltale/live/live.js" */

const PREFIX = "telltale-shown:"
/** A receipt that no page could send for so long is deleted: its visitor has signed out for good. */
const KEPT_MS = 7 * 86_400_000

/**
 * @typedef {{holder: string, at: number}} Receipt `at`: ms since 1970 by this machine
 * @typedef {Pick<Storage, "getItem" | "setItem" | "removeItem">} ReceiptStorage its keys are its properties
 */

export class Receipts {
  #storage
  #confirm
  #env
  /** @type {Map<string, Receipt>} of this page; the storage may be full or forbidden */
  #own = new Map()
  /** @type {Set<string>} ids whose receipt could not be deleted from the storage */
  #sent = new Set()
  #isSending = false
  #failures = 0
  /** @type {number | null} runs after a failure */
  #timer = null

  /**
   * @param {ReceiptStorage | null} storage
   * @param {(id: string, holder: string) => Promise<void>} confirm tells the server; rejects while that is impossible
   * @param {Pick<Environment, "setTimeout" | "clearTimeout" | "random"> & {wallNow: () => number,
   *   canSend: () => boolean}} env `wallNow`: ms since 1970 by this machine
   */
  constructor(storage, confirm, env) {
    this.#storage = storage
    this.#confirm = confirm
    this.#env = env
  }

  /** @param {string} id of a notice */
  has(id) {
    return this.#own.has(id) || this.#read(id) !== null
  }

  /**
   * A page has shown the notice.
   * @param {string} id
   * @param {string} holder
   */
  add(id, holder) {
    const receipt = { holder, at: this.#env.wallNow() }
    this.#own.set(id, receipt)
    this.#tryStorage(storage => storage.setItem(PREFIX + id, JSON.stringify(receipt)))
    this.sendNow()
  }

  /** Send all receipts, also those of pages that are closed. Earlier failures no longer delay it. */
  sendNow() {
    if (this.#timer !== null) this.#env.clearTimeout(this.#timer)
    this.#timer = null
    this.#send()
  }

  async #send() {
    if (this.#isSending || !this.#env.canSend()) return
    this.#isSending = true
    try {
      for (let next = this.#next(); next; next = this.#next()) await this.#sendOne(...next)
      this.#failures = 0
    } catch {
      const ms = 1000 + backoff(this.#failures++, this.#env.random())
      this.#timer ??= this.#env.setTimeout(() => this.sendNow(), ms)
    } finally {
      this.#isSending = false
    }
  }

  /**
   * @param {string} id
   * @param {Receipt} receipt
   */
  async #sendOne(id, { holder, at }) {
    const isOld = Math.abs(this.#env.wallNow() - at) > KEPT_MS
    if (!isOld) await this.#confirm(id, holder)
    this.#own.delete(id)
    this.#tryStorage(storage => storage.removeItem(PREFIX + id))
    if (this.#read(id)) this.#sent.add(id)
  }

  /** @returns {[string, Receipt] | null} */
  #next() {
    for (const entry of this.#own) return entry
    const keys = this.#tryStorage(storage => Object.keys(storage)) ?? []
    for (const key of keys) {
      const id = key.startsWith(PREFIX) && key.slice(PREFIX.length)
      const receipt = id && !this.#sent.has(id) && this.#read(id)
      if (receipt) return [id, receipt]
    }
    return null
  }

  /**
   * @param {string} id
   * @returns {Receipt | null}
   */
  #read(id) {
    const text = this.#tryStorage(storage => storage.getItem(PREFIX + id))
    if (!text) return null
    try {
      const { holder, at } = JSON.parse(text)
      return { holder: String(holder), at: Number(at) || 0 }
    } catch {
      return { holder: "", at: -Infinity } // not a receipt: it is deleted
    }
  }

  /**
   * @template T
   * @param {(storage: ReceiptStorage) => T} use
   * @returns {T | null} null if the browser has no storage for this page
   */
  #tryStorage(use) {
    try {
      return this.#storage ? use(this.#storage) : null
    } catch {
      return null
    }
  }
}
