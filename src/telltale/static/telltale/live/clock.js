/**
 * The server's clock, estimated from its messages. Pure: the local clock is passed in.
 *
 * The local clock is one that no person and no time server sets, so a visitor's wrong or corrected clock has no effect.
 * Messages arrive late, hardly ever early, so the largest offset seen is the most accurate. An offset that is smaller by
 * more than usual delays replaces it at once: the server's clock was put back. If it was only a late message, the next
 * one corrects that, and until then tasks look younger than they are, not stalled.
 */

/** Messages are seldom delayed for longer than this. */
const USUAL_DELAY_S = 5

export class Clock {
  #localNow
  /** @type {number | null} what to add to the local clock, in seconds */
  #offset = null

  /** @param {() => number} localNow seconds by a clock that is never set; it may stand still while the machine sleeps */
  constructor(localNow = () => performance.now() / 1000) {
    this.#localNow = localNow
  }

  /**
   * Take the time of a message that has just arrived; anything but a finite number is ignored.
   * @param {number | undefined} serverNow
   */
  update(serverNow) {
    if (serverNow === undefined || !Number.isFinite(serverNow)) return
    const offset = serverNow - this.#localNow()
    if (this.#offset === null || offset > this.#offset || this.#offset - offset > USUAL_DELAY_S) this.#offset = offset
  }

  /** Seconds since 1970 by the server. */
  get now() {
    return this.#localNow() + (this.#offset ?? 0)
  }
}
