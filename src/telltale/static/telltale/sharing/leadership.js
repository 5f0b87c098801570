/**
 * Which of a person's tabs leads: the one that holds a Web Lock. Without DOM and timers.
 *
 * The browser gives the lock to the next tab when the one that holds it is closed or crashes. A tab that only hangs, or
 * is frozen, keeps it, so one that hears nothing from it may take the lock by force.
 */

/** @typedef {Pick<LockManager, "request">} Locks */

export class Leadership {
  #locks
  #name
  #onElected
  #onLost
  #waiting = new AbortController()
  /** Whether this tab holds the lock. */
  #isHeld = false
  #isEnded = false
  /** @type {() => void} */
  #release = () => {}

  /**
   * @param {Locks} locks
   * @param {string} name the same in all tabs that share
   * @param {{onElected: () => void, onLost: () => void}} callbacks `onLost`: another tab has taken the lock by force
   */
  constructor(locks, name, { onElected, onLost }) {
    this.#locks = locks
    this.#name = name
    this.#onElected = onElected
    this.#onLost = onLost
  }

  /** Whether this tab leads. */
  get isHeld() {
    return this.#isHeld
  }

  /** Wait for the lock. */
  request() {
    this.#request({ signal: this.#waiting.signal })
  }

  /** Take the lock from the tab that holds it. */
  takeByForce() {
    this.#waiting.abort()
    this.#request({ steal: true })
  }

  /** Release the lock, or stop waiting for it. */
  end() {
    this.#isEnded = true
    this.#isHeld = false
    this.#waiting.abort()
    this.#release()
  }

  /** @param {LockOptions} options */
  async #request(options) {
    try {
      await this.#locks.request(this.#name, options, () => this.#hold())
    } catch {
      // The wait was ended, or another tab has taken the lock.
      if (!this.#isHeld) return
      this.#isHeld = false
      this.#onLost()
    }
  }

  /** @returns {Promise<void> | undefined} resolves when the lock is released */
  #hold() {
    if (this.#isEnded) return undefined
    this.#isHeld = true
    const held = new Promise(resolve => (this.#release = () => resolve(undefined)))
    this.#onElected()
    return /** @type {Promise<void>} */ (held)
  }
}
