/**
 * Which changes of a task are announced to screen readers, and how urgently. Pure.
 *
 * The first snapshot is not announced, because it is on the page to be read. But an end that the page did not show is: a
 * person may have read before that the task runs. After it, these are: each end, once; each step; each change of health
 * that needs patience; and quarters of the progress, at most one a minute. A quarter is announced by its percentage; a
 * bar that is filled by time alone has none.
 */
/** @import { Health } from "telltale/health.js" */
/** @import { Snapshot } from "telltale/live/snapshots.js" */

const QUARTERS_APART_S = 60

/**
 * @typedef {object} Facts what is compared with the snapshot before; a false value is never announced
 * @property {number} attempt
 * @property {number | false} retrying
 * @property {boolean} stopping
 * @property {string | false | null} unhealthy
 * @property {string} step
 */

export class Announcements {
  /** @type {Facts | null} of the last snapshot */
  #last = null
  /** Whether the page showed an earlier state of the task before the first snapshot. */
  #wasShown
  /** The attempt whose end is known. After an action that fails, the page shows the same end again. */
  #endedAttempt = 0
  /** The last quarter that was announced, or that the first snapshot showed. */
  #quarter = 0
  #quarterAt = -Infinity

  /** @param {{attempt: number, ended: boolean} | null} [rendered] what the page shows of the task so far */
  constructor(rendered = null) {
    this.#wasShown = rendered !== null
    if (rendered?.ended) this.#endedAttempt = rendered.attempt
  }

  /**
   * Whether to announce this snapshot; null means no.
   * @param {Pick<Snapshot, "state" | "attempt" | "ended" | "cancel_requested">
   *   & {progress: {step: number}}} snapshot
   * @param {Health | null} health
   * @param {number | null} share what the task reported as done, 0 to 1
   * @param {number} now seconds
   * @returns {{urgent: boolean, says: "status" | "percentage"} | null}
   */
  next(snapshot, health, share, now) {
    /** @type {Facts} */
    const facts = {
      attempt: snapshot.attempt,
      retrying: snapshot.state === "retrying" && snapshot.attempt,
      stopping: snapshot.cancel_requested && !snapshot.ended,
      unhealthy: (health === "slow" || health === "stalled") && health,
      step: `${snapshot.attempt} ${snapshot.progress.step}`,
    }
    const quarter = Math.floor((share ?? 0) * 4)
    const last = this.#last
    this.#last = facts
    if (last?.attempt !== facts.attempt) this.#quarter = quarter
    const isNewEnd = snapshot.ended && snapshot.attempt !== this.#endedAttempt
    if (snapshot.ended) this.#endedAttempt = snapshot.attempt
    if (!last && !this.#wasShown) return null
    if (isNewEnd) return announced(snapshot.state === "failed" || snapshot.state === "lost")
    if (!last || snapshot.ended) return null
    const isNew = (/** @type {keyof Facts} */ name) => facts[name] && facts[name] !== last[name]
    if (isNew("retrying") || isNew("stopping") || isNew("unhealthy")) return announced()
    if (snapshot.progress.step > 1 && isNew("step")) return announced()
    if (quarter > this.#quarter && snapshot.state === "running" && now - this.#quarterAt >= QUARTERS_APART_S) {
      this.#quarter = quarter
      this.#quarterAt = now
      return { urgent: false, says: "percentage" }
    }
    return null
  }
}

/** @returns {{urgent: boolean, says: "status" | "percentage"}} */
const announced = (urgent = false) => ({ urgent, says: "status" })
