/**
 * Texts that wait to be announced, so that none replaces another before it is read aloud. Pure.
 *
 * Those that gather are read together, at most `MAX_TOGETHER` at a time; the others follow. A later text about the same
 * thing replaces an earlier one that still waits.
 */

const MAX_TOGETHER = 5

export class AnnouncementQueue {
  #pauseAfter
  /** @type {Map<string, string>} by what they are about */
  #waiting = new Map()
  /** When the next ones may be read, in milliseconds. */
  #freeAt = -Infinity

  /** @param {(texts: string[]) => number} pauseAfter the milliseconds for which these texts are left alone */
  constructor(pauseAfter) {
    this.#pauseAfter = pauseAfter
  }

  get isEmpty() {
    return this.#waiting.size === 0
  }

  /**
   * @param {string} about
   * @param {string} text
   */
  add(about, text) {
    this.#waiting.delete(about)
    this.#waiting.set(about, text)
  }

  /** @param {string} about */
  remove(about) {
    this.#waiting.delete(about)
  }

  /**
   * The milliseconds until the next texts may be read.
   * @param {number} now
   */
  delay(now) {
    return Math.max(0, this.#freeAt - now)
  }

  /**
   * The texts to read now, the oldest first; none before their time.
   * @param {number} now
   */
  take(now) {
    if (this.delay(now) > 0) return []
    const taken = [...this.#waiting].slice(0, MAX_TOGETHER)
    for (const [about] of taken) this.#waiting.delete(about)
    const texts = taken.map(([, text]) => text)
    if (texts.length > 0) this.#freeAt = now + this.#pauseAfter(texts)
    return texts
  }
}
