/**
 * What of a task's changes is said aloud, and how urgently. Pure.
 *
 * Nothing of the first sight: that is on the page to be read. Then each end, each step, each change of health
 * that asks for patience, and quarters of the way at most once a minute.
 */

const QUARTERS_APART_S = 60

export class Spoken {
  #last = null
  /** The quarter last said or seen at first sight, and when the last was said. */
  #quarter = 0
  #quarterAt = -Infinity

  /**
   * @param {{state: string, attempt: number, ended: boolean, cancel_requested: boolean,
   *   progress: {step: number}}} snapshot
   * @param {?string} health
   * @param {?number} filled
   * @param {number} now seconds
   * @returns {?{urgent: boolean}} null: say nothing
   */
  next(snapshot, health, filled, now) {
    const facts = {
      attempt: snapshot.attempt,
      ended: snapshot.ended && `${snapshot.attempt} ${snapshot.state}`,
      retrying: snapshot.state === "retrying" && snapshot.attempt,
      stopping: snapshot.cancel_requested && !snapshot.ended,
      care: (health === "slow" || health === "stalled") && health,
      step: `${snapshot.attempt} ${snapshot.progress.step}`,
    }
    const quarter = Math.floor((filled ?? 0) * 4)
    const last = this.#last
    this.#last = facts
    if (last?.attempt !== facts.attempt) this.#quarter = quarter
    if (!last) return null
    const isNew = name => facts[name] && facts[name] !== last[name]
    if (isNew("ended")) return { urgent: snapshot.state === "failed" || snapshot.state === "lost" }
    if (snapshot.ended) return null
    if (["retrying", "stopping", "care"].some(isNew)) return { urgent: false }
    if (snapshot.progress.step > 1 && isNew("step")) return { urgent: false }
    if (quarter > this.#quarter && snapshot.state === "running" && now - this.#quarterAt >= QUARTERS_APART_S) {
      this.#quarter = quarter
      this.#quarterAt = now
      return { urgent: false }
    }
    return null
  }
}
