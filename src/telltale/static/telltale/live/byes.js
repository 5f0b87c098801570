/** What to do after the server has closed a connection with a bye. Repeated byes lengthen the wait. Pure. */
import { backoff, spread } from "telltale/live/backoff.js"
import { AGAIN, CLOSE } from "telltale/live/protocol.js"
/** @import { ServerMessage } from "telltale/live/protocol.js" */

/** A connection that ends sooner than this does not count as having worked. */
const STABLE_S = 5

export class Byes {
  /** How often in a row the server has closed a connection; one that had worked begins a new row. */
  #inARow = 0

  /**
   * @param {ServerMessage} bye
   * @param {{workedS: number, waitMs: number, random: number}} ended `workedS`: how long the connection was
   *   established; `waitMs`: the wait without a bye; `random`: in [0, 1)
   * @returns {{then: "stop" | "renew" | "connect", afterMs: number}} `renew`: with a new ticket
   */
  next(bye, { workedS, waitMs, random }) {
    const wasStable = workedS >= STABLE_S
    this.#inARow = wasStable ? 1 : this.#inARow + 1
    const isRepeated = this.#inARow > 1
    // A new ticket may help. If not, only a person can.
    if (bye.again === AGAIN.NEVER) return { then: isRepeated ? "stop" : "renew", afterMs: 0 }
    const backoffMs = wasStable ? waitMs : Math.max(waitMs, backoff(this.#inARow, 0.5 + random / 2))
    const isAtOnce = bye.again === AGAIN.AT_ONCE && !isRepeated
    const afterMs = isAtOnce ? 0 : Math.max(backoffMs, spread(bye, random))
    return { then: bye.code === CLOSE.EXPIRED ? "renew" : "connect", afterMs }
  }

  /** The visitor may have signed in. */
  reset() {
    this.#inARow = 0
  }
}
