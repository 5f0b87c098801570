/**
 * The server's clock, as far as its messages tell. Pure: the local clock is passed in.
 *
 * A message is always late, never early: the largest difference seen is the truest. A visitor's own clock may
 * be wrong by hours, or be put right in the middle; a difference that has changed by more than any delay is
 * believed at once.
 */

const NO_DELAY_S = 60

export class Clock {
  #local
  /** @type {?number} */
  #ahead = null

  /** @param {() => number} local seconds since 1970 by this machine */
  constructor(local = () => Date.now() / 1000) {
    this.#local = local
  }

  /** @param {number} now what a message that has just come says */
  hear(now) {
    if (!Number.isFinite(now)) return
    const ahead = now - this.#local()
    if (this.#ahead === null || ahead > this.#ahead || this.#ahead - ahead > NO_DELAY_S) this.#ahead = ahead
  }

  /** Seconds since 1970 by the server. */
  get now() {
    return this.#local() + (this.#ahead ?? 0)
  }
}
