/**
 * Which transport to try next, and after how long. Pure: it neither waits nor connects.
 *
 * Rungs go from the best (0) to the one that always works. One that never worked here is left after two
 * failures without delay worth speaking of, for a proxy that refuses it will go on refusing. One that has worked
 * is given more patience, for then it is probably the server that is away. Below the last, it starts over.
 */
import { backoff } from "telltale/live/backoff.js"

const PATIENCE = 2
const PATIENCE_ONCE_PROVEN = 4
const CLIMB_MS = 60_000
const CLIMB_AT_MOST_MS = 600_000

export class Ladder {
  #rungs
  #random
  #proven = new Set()
  #failures = 0
  #tries = 0
  #climbs = 0

  /** The present rung, from 0. */
  rung = 0

  /**
   * @param {number} rungs how many there are
   * @param {() => number} random in [0, 1)
   */
  constructor(rungs, random = Math.random) {
    this.#rungs = rungs
    this.#random = random
  }

  /** The server spoke on the present rung. */
  proved() {
    this.#proven.add(this.rung)
    this.#failures = this.#tries = 0
  }

  /** A line that had worked ended: ms to wait before the same rung again. */
  ended() {
    this.#tries = Math.max(this.#tries, 1)
    return backoff(this.#tries, this.#random())
  }

  /** An attempt brought nothing: ms to wait before the next, which may be on another rung. */
  failed() {
    this.#failures += 1
    const isKnown = this.#proven.has(this.rung)
    const isLast = this.rung === this.#rungs - 1
    if (isKnown || isLast) this.#tries += 1
    if (this.#failures >= (isKnown ? PATIENCE_ONCE_PROVEN : PATIENCE)) {
      this.#failures = 0
      this.rung = isLast ? 0 : this.rung + 1
    }
    return backoff(this.#tries, this.#random())
  }

  /** A person came back, or the network did: no more waiting for earlier failures. */
  hope() {
    this.#tries = 0
  }

  /** ms after which to look whether a better rung works again; null on the best. */
  get climbAfter() {
    if (this.rung === 0) return null
    return Math.min(CLIMB_AT_MOST_MS, CLIMB_MS * 2 ** this.#climbs) * (0.5 + this.#random() / 2)
  }

  /** The rung above answered. */
  climbed() {
    this.rung -= 1
    this.#climbs = 0
    this.proved()
  }

  /** The rung above did not answer. */
  slipped() {
    this.#climbs += 1
  }
}
