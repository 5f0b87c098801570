/** The notices that a page may still take, for listeners that are added later. Pure. */
/** @import { Notice } from "telltale/live/snapshots.js" */

/** How many are kept. */
const MAX_NOTICES = 1_000

export class KeptNotices {
  /** @type {Map<string, Notice>} by id, oldest first */
  #notices = new Map()

  get all() {
    return [...this.#notices.values()]
  }

  /** @param {Notice} notice */
  add(notice) {
    this.#notices.set(notice.id, notice)
    if (this.#notices.size <= MAX_NOTICES) return
    const [oldest] = this.#notices.keys()
    this.#notices.delete(oldest)
  }

  /** @param {string} id */
  forget(id) {
    this.#notices.delete(id)
  }

  clear() {
    this.#notices.clear()
  }
}
