/**
 * A text that changes at most once in a while: one that flickers is not read. Pure.
 *
 * A change that comes too early is held back; the next call after the period shows the newest text.
 */
export class SteadyText {
  #period
  #text = ""
  #changedAt = -Infinity

  /** @param {number} period seconds for which a text stays at least */
  constructor(period) {
    this.#period = period
  }

  /**
   * The text to show at `now` (seconds, never backwards) where `text` is the newest.
   * @param {string} text
   * @param {number} now
   */
  next(text, now) {
    const isFirst = this.#text === ""
    if (text !== this.#text && (isFirst || now - this.#changedAt >= this.#period)) {
      this.#text = text
      this.#changedAt = now
    }
    return this.#text
  }
}
