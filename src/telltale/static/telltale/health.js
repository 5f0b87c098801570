/**
 * The health of a running task, from its two clocks and the current time; and whether a task can be cancelled. Pure.
 * The same rules as `core/health.py`.
 *
 * @typedef {{quiet_s: number, stalled_s: number, lease_s: number}} Limits
 * @typedef {"ok" | "quiet" | "slow" | "stalled"} Health
 */
/** @import { Snapshot } from "telltale/live/snapshots.js" */

/**
 * @param {Snapshot} snapshot
 * @param {number} now by the server's clock, in seconds
 * @param {Limits} limits
 * @returns {Health | null} null unless the task is running
 */
export function health(snapshot, now, limits) {
  if (snapshot.state !== "running") return null
  // A clock without a value counts from the start of the attempt.
  const { created_at, started_at, beat_at, moved_at, usual_s } = snapshot
  const startedAt = started_at ?? created_at
  if (now - (beat_at ?? startedAt) > limits.stalled_s) return "stalled"
  if (usual_s && now - startedAt > usual_s[1]) return "slow"
  if (now - (moved_at ?? startedAt) > limits.quiet_s) return "quiet"
  return "ok"
}

const MISSING_S = 60

/**
 * Whether the runner of a waiting task has probably lost it, so that no worker will begin it.
 *
 * @param {Snapshot} snapshot
 * @param {number} now by the server's clock, in seconds
 */
export const mayBeLost = ({ state, missing_since }, now) =>
  ["queued", "retrying"].includes(state) && missing_since != null && now - missing_since > MISSING_S

/**
 * Whether the button that cancels is shown; it is disabled while `canCancel` is false.
 *
 * @param {Pick<Snapshot, "ended" | "cancel_requested">} snapshot
 */
export const offersCancel = snapshot => !snapshot.ended && !snapshot.cancel_requested

/**
 * Whether a request to cancel would have an effect now. Health does not count: see `core/health.py`.
 *
 * @param {Pick<Snapshot, "ended" | "cancel_requested" | "no_cancel">} snapshot
 */
export const canCancel = snapshot => offersCancel(snapshot) && snapshot.no_cancel == null
