/**
 * The server's clock, estimated from its messages. Pure: the local clock is passed in.
 *
 * Messages arrive late, never early, so the largest offset seen is the most accurate. A visitor's own clock may be
 * wrong by hours, or be corrected while the page is open: an offset that shrinks by more than any delay
 * replaces the old one at once.
 */

/** No message is delayed for longer than this. */
const MAX_DELAY_S = 60

export class Clock {
  #localNow
  /** @type {number | null} what to add to the local clock, in seconds */
  #offset = null

  /** @param {() => number} localNow seconds since 1970 by this machine */
  constructor(localNow = () => Date.now() / 1000) {
    this.#localNow = localNow
  }

  /**
   * Take the time of a message that has just arrived; anything but a finite number is ignored.
   * @param {number | undefined} serverNow
   */
  update(serverNow) {
    if (serverNow === undefined || !Number.isFinite(serverNow)) return
    const offset = serverNow - this.#localNow()
    if (this.#offset === null || offset > this.#offset || this.#offset - offset > MAX_DELAY_S) this.#offset = offset
  }

  /** Seconds since 1970 by the server. */
  get now() {
    return this.#localNow() + (this.#offset ?? 0)
  }
}
