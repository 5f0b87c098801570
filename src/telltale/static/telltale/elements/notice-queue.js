/**
 * The notices of a page that wait to be shown, in the order of their arrival.
 *
 * A taken notice counts as shown, so a notice is taken only when there is room for it; the others stay
 * in the queue, for this page, for another or for the next. One notice is taken at a time, and none while there is no
 * room: a hundred notices that wait cost nothing. All effects come in by `stage` and `env`.
 */
import { backoff } from "telltale/live/backoff.js"

/** After a refusal another page probably shows these notices too: let it go first. */
const REFUSED_MS = 200

/**
 * @typedef {import("telltale/live/snapshots.js").Notice} Notice
 * @typedef {{
 *   isReady: () => boolean, hasRoom: () => boolean, isSaid: (notice: Notice) => boolean,
 *   painted: () => Promise<void>, take: (id: string) => Promise<boolean>,
 *   show: (notice: Notice) => void, changed: () => void,
 * }} Stage
 * `isReady`: whether the page can be seen and the server reached. `isSaid`: whether the page tells it elsewhere
 * already, so that it needs no room. `painted`: resolves when the page paints. `take`: whether the notice is this
 * page's to show; rejects while that is undecided. `changed`: the number that wait has changed.
 */

export class NoticeQueue {
  /** @type {Map<string, Notice>} */
  #waiting = new Map()
  #stage
  #env
  #isTaking = false
  #isOver = false
  #timer = null
  #failures = 0

  /**
   * @param {Stage} stage
   * @param {{setTimeout: Function, clearTimeout: Function, random: () => number}} env
   */
  constructor(stage, env) {
    this.#stage = stage
    this.#env = env
  }

  /** How many wait. */
  get length() {
    return this.#waiting.size
  }

  /** @param {Notice} notice one that arrives again keeps its place */
  hear(notice) {
    if (this.#waiting.has(notice.id)) return
    this.#waiting.set(notice.id, notice)
    this.#stage.changed()
    this.go()
  }

  /** Take and show what there is room for. To be called whenever there may be room. */
  async go() {
    if (this.#isTaking || this.#timer !== null) return
    this.#isTaking = true
    // Notices often come many at a time: look through them once, not once for each.
    await null
    try {
      while (this.#next()) await this.#take()
    } finally {
      this.#isTaking = false
    }
  }

  /** The page is seen again, or the server reached again: no more waiting for earlier failures. */
  wake() {
    this.#clear()
    this.go()
  }

  /** Take no more notices. */
  end() {
    this.#isOver = true
    this.#clear()
  }

  /** The notice to take now, if any. */
  #next() {
    if (this.#isOver || this.#timer !== null || !this.#stage.isReady()) return undefined
    const waiting = [...this.#waiting.values()]
    return this.#stage.hasRoom() ? waiting[0] : waiting.find(notice => this.#stage.isSaid(notice))
  }

  async #take() {
    await this.#stage.painted()
    // Meanwhile the page may have been hidden, or the room taken.
    const notice = this.#next()
    if (!notice) return
    const isSaid = this.#stage.isSaid(notice)
    let isGranted
    try {
      isGranted = await this.#stage.take(notice.id)
    } catch {
      // Nothing is decided, so the notice keeps its place.
      this.#pause(REFUSED_MS + backoff(this.#failures++, this.#env.random()))
      return
    }
    this.#failures = 0
    this.#waiting.delete(notice.id)
    if (isGranted && !isSaid) this.#stage.show(notice)
    if (!isGranted) this.#pause(REFUSED_MS)
    this.#stage.changed()
  }

  #pause(ms) {
    this.#clear()
    this.#timer = this.#env.setTimeout(() => {
      this.#timer = null
      this.go()
    }, ms)
  }

  #clear() {
    if (this.#timer !== null) this.#env.clearTimeout(this.#timer)
    this.#timer = null
  }
}
