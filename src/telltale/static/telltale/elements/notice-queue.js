/**
 * The notices of a page that wait to be shown, in order of arrival.
 *
 * A notice is taken when there is room for it, shown, and confirmed when it has been painted. The server gives a notice
 * back that is not confirmed in time, so that a page that is closed meanwhile loses none; and this page shows none for
 * which it was granted too long ago. The others wait, for this page, another or the next. One notice is taken at a
 * time, and none while there is no room: a hundred waiting notices cost no request. All effects come in by `display`
 * and `env`.
 */
import { backoff } from "telltale/live/backoff.js"
/** @import { Environment } from "telltale/live/live.js" */
/** @import { Notice } from "telltale/live/snapshots.js" */
/** @import { Taking } from "telltale/requests.js" */

/** After a refusal another page probably shows these notices too: let it go first. */
const REFUSED_MS = 200

/** A notice is shown within this part of the time that the server gives; the rest is for the confirmation. */
const SHOWN_WITHIN = 0.5

/**
 * @typedef {object} Display
 * @property {() => boolean} isReady whether the page is visible and the server can be reached
 * @property {() => boolean} hasRoom
 * @property {(notice: Notice) => boolean} isShownElsewhere whether the page shows its content already, so that the
 *   notice needs no room
 * @property {(id: string) => boolean} wasShown whether a page of this browser has shown the notice
 * @property {() => Promise<void>} nextPaint resolves when the page is about to paint
 * @property {() => Promise<void>} afterPaint resolves when it has painted
 * @property {(id: string) => Promise<Taking>} take whether this page may show the notice; rejects while undecided
 * @property {(notice: Notice) => boolean} show whether it is in the page now
 * @property {(id: string) => void} onPainted a person may have seen the notice
 * @property {(id: string) => void} onDecided the notice needs nothing more from this page
 * @property {() => void} onChange the number of waiting notices has changed
 *
 * @typedef {object} Clocks both in ms
 * @property {() => number} now never put forward or back, but it may stand still while the machine sleeps
 * @property {() => number} wallNow
 */

export class NoticeQueue {
  /** @type {Map<string, Notice>} */
  #waiting = new Map()
  /** @type {Map<string, number>} when to ask again for notices that another page was about to show, by `now` */
  #heldUntil = new Map()
  #display
  #env
  #isTaking = false
  #isStopped = false
  /** @type {number | null} runs while nothing is taken, after a refusal or failure */
  #timer = null
  /** @type {number | null} runs until a notice that another page holds may be asked for */
  #heldTimer = null
  #failures = 0

  /**
   * @param {Display} display
   * @param {Pick<Environment, "setTimeout" | "clearTimeout" | "random"> & Clocks} env
   */
  constructor(display, env) {
    this.#display = display
    this.#env = env
  }

  /** How many notices wait, without those that another page is about to show. */
  get length() {
    return this.#waiting.size - this.#heldUntil.size
  }

  /** @param {Notice} notice one that arrives again keeps its place */
  add(notice) {
    if (this.#waiting.has(notice.id)) return
    this.#waiting.set(notice.id, notice)
    this.#display.onChange()
    this.showNext()
  }

  /** Take and show as many notices as there is room for. Call this whenever there may be room. */
  async showNext() {
    if (this.#isTaking || this.#timer !== null) return
    this.#isTaking = true
    // Notices often arrive together: start after all of them are in the queue.
    await null
    try {
      while (this.#next()) await this.#takeNext()
    } finally {
      this.#isTaking = false
    }
    this.#waitForHeld()
  }

  /** The page is visible again, or the server can be reached again: earlier failures no longer delay the next try. */
  retryNow() {
    this.#clearTimer()
    this.showNext()
  }

  /** Take no more notices. */
  stop() {
    this.#isStopped = true
    this.#clearTimer()
    if (this.#heldTimer !== null) this.#env.clearTimeout(this.#heldTimer)
  }

  /** The notice to take now, if any. */
  #next() {
    if (this.#isStopped || this.#timer !== null || !this.#display.isReady()) return undefined
    const now = this.#env.now()
    const free = [...this.#waiting.values()].filter(({ id }) => (this.#heldUntil.get(id) ?? 0) <= now)
    return this.#display.hasRoom() ? free[0] : free.find(notice => this.#display.isShownElsewhere(notice))
  }

  async #takeNext() {
    await this.#display.nextPaint()
    // Meanwhile the page may have been hidden, or the room taken.
    const notice = this.#next()
    if (!notice) return
    if (this.#display.wasShown(notice.id)) return this.#decided(notice.id)
    const isShownElsewhere = this.#display.isShownElsewhere(notice)
    // Before the request: the server counts from a later moment.
    const elapsedMs = this.#stopwatch()
    let taking
    try {
      taking = await this.#display.take(notice.id)
    } catch {
      this.#pauseAfterFailure() // Undecided: the notice keeps its place.
      return
    }
    this.#heldUntil.delete(notice.id)
    if (!taking.granted) return this.#refused(notice.id, taking.retryAfterMs ?? null)
    await this.#display.nextPaint()
    if (elapsedMs() > (taking.confirmWithinMs ?? Infinity) * SHOWN_WITHIN) {
      // Another page may show it soon: the server decides again.
      this.#pauseAfterFailure()
      return
    }
    this.#failures = 0
    if (this.#display.wasShown(notice.id)) return this.#decided(notice.id)
    if (!isShownElsewhere && !this.#display.show(notice)) return
    this.#decided(notice.id)
    await this.#display.afterPaint()
    this.#display.onPainted(notice.id)
  }

  /** @param {string} id */
  #decided(id) {
    this.#waiting.delete(id)
    this.#heldUntil.delete(id)
    this.#display.onDecided(id)
    this.#display.onChange()
  }

  /**
   * @param {string} id
   * @param {number | null} retryAfterMs null if the notice was shown
   */
  #refused(id, retryAfterMs) {
    this.#failures = 0
    this.#pause(REFUSED_MS)
    if (retryAfterMs === null) return this.#decided(id)
    this.#heldUntil.set(id, this.#env.now() + Math.max(REFUSED_MS, retryAfterMs))
    this.#display.onChange()
  }

  /** Ask again for notices that another page holds, when the server may have given them back. */
  #waitForHeld() {
    if (this.#heldTimer !== null) this.#env.clearTimeout(this.#heldTimer)
    this.#heldTimer = null
    if (this.#isStopped || this.#heldUntil.size === 0) return
    const ms = Math.min(...this.#heldUntil.values()) - this.#env.now()
    // While the page is hidden or away, the queue is woken by `retryNow`.
    if (ms > 0) this.#heldTimer = this.#env.setTimeout(() => this.#onFree(), ms)
  }

  #onFree() {
    this.#heldTimer = null
    const now = this.#env.now()
    for (const [id, until] of this.#heldUntil) if (until <= now) this.#heldUntil.delete(id)
    this.#display.onChange()
    this.showNext()
  }

  /** @returns {() => number} how many ms have passed; by two clocks, because one may stand still and one may be put back */
  #stopwatch() {
    const { now, wallNow } = this.#env
    const [startedAt, startedAtWall] = [now(), wallNow()]
    return () => Math.max(now() - startedAt, wallNow() - startedAtWall)
  }

  #pauseAfterFailure() {
    this.#pause(REFUSED_MS + backoff(this.#failures++, this.#env.random()))
  }

  /** @param {number} ms */
  #pause(ms) {
    this.#clearTimer()
    this.#timer = this.#env.setTimeout(() => {
      this.#timer = null
      this.showNext()
    }, ms)
  }

  #clearTimer() {
    if (this.#timer !== null) this.#env.clearTimeout(this.#timer)
    this.#timer = null
  }
}
