/**
 * How a running task is doing, from its two clocks and the present instant. Pure; as `core/health.py`.
 *
 * @typedef {{quiet_s: number, stalled_s: number, lease_s: number}} Limits
 */

/**
 * @param {import("telltale/newest.js").Snapshot} snapshot
 * @param {number} now by the server's clock, in seconds
 * @param {Limits} limits
 * @returns {"ok" | "quiet" | "slow" | "stalled" | null} null unless it is running
 */
export function health(snapshot, now, limits) {
  if (snapshot.state !== "running") return null
  const { beat_at, moved_at, started_at, usual_s } = snapshot
  if (isOver(beat_at, now, limits.stalled_s)) return "stalled"
  if (isOver(moved_at, now, limits.quiet_s)) return "quiet"
  if (usual_s && isOver(started_at, now, usual_s[1])) return "slow"
  return "ok"
}

const isOver = (since, now, limit) => since != null && now - since > limit
