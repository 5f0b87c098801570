/**
 * How a running task is doing, from its two clocks and the present instant. Pure; as `core/health.py`.
 *
 * @typedef {{quiet_s: number, stalled_s: number, lease_s: number}} Limits
 */

/**
 * @param {import("telltale/live/snapshots.js").Snapshot} snapshot
 * @param {number} now by the server's clock, in seconds
 * @param {Limits} limits
 * @returns {"ok" | "quiet" | "slow" | "stalled" | null} null unless it is running
 */
export function health(snapshot, now, limits) {
  if (snapshot.state !== "running") return null
  // A clock that was never told stands where the attempt began.
  const { created_at, started_at, beat_at, moved_at, usual_s } = snapshot
  const began = started_at ?? created_at
  if (now - (beat_at ?? began) > limits.stalled_s) return "stalled"
  if (usual_s && now - began > usual_s[1]) return "slow"
  if (now - (moved_at ?? began) > limits.quiet_s) return "quiet"
  return "ok"
}
