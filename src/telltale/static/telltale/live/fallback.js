/**
 * Which transport to try next, and after how long. Pure: it neither waits nor connects.
 *
 * Transports are numbered from the best (0) to the one that always works. A transport that never worked here is
 * left after two failures, almost without delay: a proxy that refuses it will keep refusing. A transport that has
 * worked gets more attempts, because then the server is probably down. After the last, the first is next. Better
 * transports than the current one are tried again from time to time, in turn.
 *
 * A server may be unable to hold connections open (WSGI). Then the transports that need it are left out: each attempt
 * would only be an error in the browser's console.
 */
import { backoff } from "telltale/live/backoff.js"

const ATTEMPTS = 2
const ATTEMPTS_ONCE_ESTABLISHED = 4
const UPGRADE_MS = 60_000
const LONGEST_UPGRADE_MS = 600_000

export class Fallback {
  #count
  #random
  /** @type {Set<number>} the transports that have worked on this page */
  #established = new Set()
  /** Failures in a row of the current transport. */
  #failures = 0
  /** The exponent of the back-off. */
  #tries = 0
  #failedUpgrades = 0
  /** @type {Set<number>} the transports that have worked or failed on this page */
  #tried = new Set()
  #held
  #canHold

  /** The number of the current transport, from 0. */
  current

  /**
   * @param {number} count how many transports there are
   * @param {() => number} random in [0, 1)
   * @param {{held?: number[], canHold?: boolean}} [options] `held`: the transports for which the server must hold
   *   connections open; `canHold`: whether it can, as far as the page knows
   */
  constructor(count, random = Math.random, { held = [], canHold = true } = {}) {
    this.#count = count
    this.#random = random
    this.#held = new Set(held)
    this.#canHold = canHold
    this.current = this.#usable[0]
  }

  /** The transports that the server allows, best first. */
  get #usable() {
    return [...Array(this.#count).keys()].filter(index => this.#canHold || !this.#held.has(index))
  }

  /** Those of them that are better than the current one. */
  get #better() {
    return this.#usable.filter(index => index < this.current)
  }

  /** Those of them that were not tried yet, because the server could not hold connections before. */
  get #untried() {
    return this.#better.filter(index => !this.#tried.has(index))
  }

  /**
   * The server has said whether it can hold connections open.
   * @param {boolean} canHold
   * @returns {boolean} whether this is new
   */
  learn(canHold) {
    const isNew = canHold !== this.#canHold
    this.#canHold = canHold
    return isNew
  }

  /** Whether there is no simpler transport to fall back to. */
  get isLast() {
    return this.current === this.#count - 1
  }

  /** The server answered over the current transport. */
  established() {
    this.#established.add(this.current)
    this.#tried.add(this.current)
    this.#failures = this.#tries = 0
  }

  /** A connection that had worked ended. Returns the wait before reconnecting over the same transport, in ms. */
  connectionLost() {
    this.#tries = Math.max(this.#tries, 1)
    return backoff(this.#tries, this.#random())
  }

  /** An attempt got no answer. Returns the wait before the next one, in ms; it may use another transport. */
  attemptFailed() {
    this.#failures += 1
    this.#tried.add(this.current)
    const hasWorked = this.#established.has(this.current)
    const { isLast } = this
    if (hasWorked || isLast) this.#tries += 1
    if (this.#failures >= (hasWorked ? ATTEMPTS_ONCE_ESTABLISHED : ATTEMPTS)) {
      this.#failures = 0
      this.current = this.#usable.find(index => index > this.current) ?? this.#usable[0]
    }
    return backoff(this.#tries, this.#random())
  }

  /** The visitor or the network is back: earlier failures no longer delay the next attempt. */
  resetBackoff() {
    this.#tries = 0
  }

  /**
   * The better transport that is tried next: the best that was not tried yet; else the one before the current, then
   * the one before that, and so on.
   */
  get upgradeTarget() {
    const better = this.#better
    return this.#untried[0] ?? better[better.length - 1 - (this.#failedUpgrades % better.length)]
  }

  /** After how many ms to try `upgradeTarget`; null if none is better. */
  get upgradeAfterMs() {
    if (!this.#better.length) return null
    if (this.#untried.length) return 0
    return Math.min(LONGEST_UPGRADE_MS, UPGRADE_MS * 2 ** this.#failedUpgrades) * (0.5 + this.#random() / 2)
  }

  /**
   * A better transport works again and is now the current one.
   * @param {number} [target] its number
   */
  upgraded(target = this.upgradeTarget) {
    this.current = target
    this.#failedUpgrades = 0
    this.established()
  }

  /**
   * The better transport that was tried did not work.
   * @param {number} [target] its number
   */
  upgradeFailed(target = this.upgradeTarget) {
    const isFirstTry = !this.#tried.has(target)
    this.#tried.add(target)
    if (!isFirstTry) this.#failedUpgrades += 1
  }
}
