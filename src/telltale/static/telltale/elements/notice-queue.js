/**
 * The notices of a page that wait to be shown, in order of arrival.
 *
 * A taken notice counts as shown, so a notice is taken only when there is room for it. The others wait, for this page,
 * another or the next. One notice is taken at a time, and none while there is no room: a hundred waiting notices cost
 * no request. All effects come in by `display` and `env`.
 */
import { backoff } from "telltale/live/backoff.js"
/** @import { Environment } from "telltale/live/live.js" */
/** @import { Notice } from "telltale/live/snapshots.js" */

/** After a refusal another page probably shows these notices too: let it go first. */
const REFUSED_MS = 200

/**
 * @typedef {object} Display
 * @property {() => boolean} isReady whether the page is visible and the server can be reached
 * @property {() => boolean} hasRoom
 * @property {(notice: Notice) => boolean} isShownElsewhere whether the page shows its content already, so that the
 *   notice needs no room
 * @property {() => Promise<void>} nextPaint resolves when the page paints
 * @property {(id: string) => Promise<boolean>} take whether this page may show the notice; rejects while undecided
 * @property {(notice: Notice) => void} show
 * @property {() => void} onChange the number of waiting notices has changed
 */

export class NoticeQueue {
  /** @type {Map<string, Notice>} */
  #waiting = new Map()
  #display
  #env
  #isTaking = false
  #isStopped = false
  /** @type {number | null} runs while nothing is taken, after a refusal or failure */
  #timer = null
  #failures = 0

  /**
   * @param {Display} display
   * @param {Pick<Environment, "setTimeout" | "clearTimeout" | "random">} env
   */
  constructor(display, env) {
    this.#display = display
    this.#env = env
  }

  /** How many notices wait. */
  get length() {
    return this.#waiting.size
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
  }

  /** The notice to take now, if any. */
  #next() {
    if (this.#isStopped || this.#timer !== null || !this.#display.isReady()) return undefined
    const waiting = [...this.#waiting.values()]
    return this.#display.hasRoom() ? waiting[0] : waiting.find(notice => this.#display.isShownElsewhere(notice))
  }

  async #takeNext() {
    await this.#display.nextPaint()
    // Meanwhile the page may have been hidden, or the room taken.
    const notice = this.#next()
    if (!notice) return
    const isShownElsewhere = this.#display.isShownElsewhere(notice)
    let isGranted
    try {
      isGranted = await this.#display.take(notice.id)
    } catch {
      // Undecided: the notice keeps its place.
      this.#pause(REFUSED_MS + backoff(this.#failures++, this.#env.random()))
      return
    }
    this.#failures = 0
    this.#waiting.delete(notice.id)
    if (isGranted && !isShownElsewhere) this.#display.show(notice)
    if (!isGranted) this.#pause(REFUSED_MS)
    this.#display.onChange()
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
