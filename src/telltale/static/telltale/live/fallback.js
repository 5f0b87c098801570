/**
 * Which transport to try next, and after how long. Pure: it neither waits nor connects.
 *
 * Transports are numbered from the best (0) to the one that always works. A transport that never worked here is
 * left after two failures, almost without delay: a proxy that refuses it will keep refusing. A transport that has
 * worked gets more attempts, because then the server is probably down. After the last, the first is next. Better
 * transports than the current one are tried again from time to time, in turn.
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

  /** The number of the current transport, from 0. */
  current = 0

  /**
   * @param {number} count how many transports there are
   * @param {() => number} random in [0, 1)
   */
  constructor(count, random = Math.random) {
    this.#count = count
    this.#random = random
  }

  /** Whether there is no simpler transport to fall back to. */
  get isLast() {
    return this.current === this.#count - 1
  }

  /** The server answered over the current transport. */
  established() {
    this.#established.add(this.current)
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
    const hasWorked = this.#established.has(this.current)
    const { isLast } = this
    if (hasWorked || isLast) this.#tries += 1
    if (this.#failures >= (hasWorked ? ATTEMPTS_ONCE_ESTABLISHED : ATTEMPTS)) {
      this.#failures = 0
      this.current = isLast ? 0 : this.current + 1
    }
    return backoff(this.#tries, this.#random())
  }

  /** The visitor or the network is back: earlier failures no longer delay the next attempt. */
  resetBackoff() {
    this.#tries = 0
  }

  /** The better transport that is tried next: the one before the current, then the one before that, and so on. */
  get upgradeTarget() {
    return this.current - 1 - (this.#failedUpgrades % this.current)
  }

  /** After how many ms to try `upgradeTarget`; null on the best. */
  get upgradeAfterMs() {
    if (this.current === 0) return null
    return Math.min(LONGEST_UPGRADE_MS, UPGRADE_MS * 2 ** this.#failedUpgrades) * (0.5 + this.#random() / 2)
  }

  /**
   * A better transport works again and is now the current one.
   * @param {number} [target] its number
   */
  upgraded(target = this.current - 1) {
    this.current = target
    this.#failedUpgrades = 0
    this.established()
  }

  /** The better transport that was tried did not work. */
  upgradeFailed() {
    this.#failedUpgrades += 1
  }
}
