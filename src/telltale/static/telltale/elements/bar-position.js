/**
 * How full a bar is, 0 to 1: never less than before within an attempt, nor than the server rendered. Pure.
 */
export class BarPosition {
  #filled = 0
  /** The attempt that `#filled` belongs to; 0 while unknown. */
  #attempt = 0

  /** The fullest so far. */
  get filled() {
    return this.#filled
  }

  /**
   * Take in a bar that the server rendered.
   * @param {number} position 0 to 1; negative if unknown
   * @param {number | undefined} attempt undefined if the markup does not tell
   */
  rendered(position, attempt = this.#attempt) {
    if (attempt < this.#attempt) return
    if (attempt > this.#attempt && this.#attempt > 0) this.#filled = 0
    this.#attempt = attempt
    this.#filled = Math.max(this.#filled, position)
  }

  /**
   * The position to show for a snapshot; null if unknown.
   * @param {{attempt: number, state: string}} snapshot
   * @param {number | null} filled how full it would be by the snapshot alone; null if unknown
   */
  next({ attempt, state }, filled) {
    if (attempt > this.#attempt) {
      // The first snapshot continues from what the server rendered; a later attempt starts at 0.
      const isContinued = this.#attempt === 0 && state !== "queued"
      if (!isContinued) this.#filled = 0
      this.#attempt = attempt
    }
    this.#filled = Math.max(this.#filled, filled ?? 0)
    return filled === null && this.#filled === 0 ? null : this.#filled
  }
}
