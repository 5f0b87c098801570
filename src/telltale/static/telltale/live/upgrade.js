/** Returns to a better transport: tries it at times while the connection goes on, and switches at its first answer. */
import { closeConnection } from "telltale/live/connection.js"
/** @import { Connection } from "telltale/live/connection.js" */
/** @import { Fallback } from "telltale/live/fallback.js" */
/** @import { NamedTimers } from "telltale/live/timers.js" */

/**
 * @typedef {object} Connecting
 * @property {(index: number, callbacks: {onEstablished: (connection: Connection) => void,
 *   onEnd: (connection: Connection) => void}) => Connection} open over transport number `index`
 * @property {(index: number) => number} establishMs how long the transport may take until the server's first answer
 * @property {(connection: Connection) => void} onSwitch the connection over the better transport is the page's now
 * @property {(connection: Connection) => void} onEnd a connection that became the page's has ended
 */

export class Upgrade {
  #fallback
  #timers
  #connecting
  /** @type {Connection | null} a second connection, which tries a better transport */
  #attempt = null

  /**
   * @param {Fallback} fallback
   * @param {NamedTimers} timers
   * @param {Connecting} connecting
   */
  constructor(fallback, timers, connecting) {
    this.#fallback = fallback
    this.#timers = timers
    this.#connecting = connecting
  }

  /** Try a better transport after a while, if there is one. */
  schedule() {
    const ms = this.#fallback.upgradeAfterMs
    if (ms === null) this.#timers.clear("upgrade")
    else this.#timers.set("upgrade", ms, () => this.#try())
  }

  /** A better transport may have become usable: schedule a try, unless one is under way. */
  reschedule() {
    if (!this.#attempt) this.schedule()
  }

  /** Stop trying. */
  stop() {
    this.#drop()
    this.#timers.clear("upgrade")
  }

  /**
   * @param {string} ticket
   * @param {boolean} isChanged
   */
  updateTicket(ticket, isChanged) {
    if (!this.#attempt || this.#attempt.transport?.updateTicket(ticket, isChanged)) return
    // It has an outdated ticket: try again later.
    this.#drop()
    this.schedule()
  }

  #try() {
    const target = this.#fallback.upgradeTarget
    const onFailure = () => {
      if (!this.#attempt) return
      this.#drop()
      this.#fallback.upgradeFailed(target)
      this.schedule()
    }
    this.#attempt = this.#connecting.open(target, {
      onEstablished: connection => this.#switchTo(connection, target),
      onEnd: connection => (connection === this.#attempt ? onFailure() : this.#connecting.onEnd(connection)),
    })
    this.#timers.set("upgrade", this.#connecting.establishMs(target), onFailure)
  }

  /**
   * @param {Connection} connection
   * @param {number} index of its transport
   */
  #switchTo(connection, index) {
    this.#attempt = null
    this.#connecting.onSwitch(connection)
    this.#fallback.upgraded(index)
    this.schedule()
  }

  #drop() {
    if (this.#attempt) closeConnection(this.#attempt)
    this.#attempt = null
  }
}
