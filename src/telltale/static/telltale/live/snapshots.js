/**
 * What the page knows: the newest snapshot of each task, and which notices have arrived. Pure.
 *
 * Messages may arrive over any transport, twice, late or out of order: of two snapshots of a task, the larger by
 * (attempt, ended, seq) is the newer. A snapshot that the server marks as a correction replaces any other: the page had
 * one that was never true. Each notice is new once; every event is new.
 *
 * @typedef {{fraction: number | null, current: number | null, total: number | null, unit: string, message: string,
 *   stage: string, step: number, steps: number | null, borders?: number[]}} Progress
 * @typedef {{id: string, attempt: number, ended: boolean, seq: number, state: string, name: string, label: string,
 *   progress: Progress, error: string | null, reference: string | null, result: string | null, has_return_value: boolean,
 *   created_at: number, started_at: number | null, moved_at: number | null, beat_at: number | null,
 *   ended_at: number | null, due_at: number | null, ahead: number | null, is_listening: boolean | null, missing_since: number | null, remaining_s: number | null,
 *   remaining_spread: number | null, usual_s: number[] | null, cancel_requested: boolean, no_cancel: string | null}} Snapshot
 * @typedef {{id: string, topic: string, level: string, text: string, url: string | null, task: string | null,
 *   created_at: number}} Notice
 * @typedef {{topic: string, name: string, data: any}} TopicEvent
 * @typedef {{tasks?: Snapshot[], notices?: Notice[], events?: TopicEvent[],
 *   corrected?: string[]}} Content
 * @typedef {{tasks: Snapshot[], notices: Notice[], events: TopicEvent[], ignored: [string, string][]}} News
 */

/** How many tasks and notices are named to the server on connecting: it limits the size of messages. */
const MAX_SENT = 150
/** How many ended tasks and notices are kept on a page that stays open for days. */
const MAX_KEPT = 1_000

/**
 * Whether to show snapshot `a` instead of `b`.
 * @param {Pick<Snapshot, "attempt" | "ended" | "seq">} a
 * @param {Pick<Snapshot, "attempt" | "ended" | "seq"> | undefined} b
 */
export const supersedes = (a, b) =>
  !b || (a.attempt - b.attempt || Number(a.ended) - Number(b.ended) || a.seq - b.seq) > 0

/**
 * Whether snapshot `b` is of another attempt than `a`, or of its end: what was said of `a` is outdated.
 * @param {Pick<Snapshot, "attempt" | "ended">} a
 * @param {Pick<Snapshot, "attempt" | "ended">} b
 */
export const isOutdatedBy = (a, b) => a.attempt !== b.attempt || a.ended !== b.ended

export class Snapshots {
  /** @type {Map<string, Snapshot>} by task id; the last changed is last */
  tasks = new Map()
  /** @type {Set<string>} */
  #noticeIds = new Set()

  /**
   * Take in a message; returns what of it is new.
   * @param {Content} message
   * @returns {News}
   */
  merge(message) {
    /** @type {News} */
    const news = { tasks: [], notices: [], events: [...(message.events ?? [])], ignored: [] }
    for (const id of message.corrected ?? []) this.tasks.delete(id)
    for (const snapshot of message.tasks ?? []) {
      if (this.#keep(snapshot)) news.tasks.push(snapshot)
      else news.ignored.push(["task", snapshot.id])
    }
    for (const notice of message.notices ?? []) {
      if (this.#noticeIds.has(notice.id)) news.ignored.push(["notice", notice.id])
      else {
        this.#noticeIds.add(notice.id)
        news.notices.push(notice)
      }
    }
    this.#forgetOldest()
    return news
  }

  /** @param {string} id of a task that is not followed any more */
  forget(id) {
    this.tasks.delete(id)
  }

  /**
   * The order of the newest snapshots by task id, for the server to send only newer ones.
   * @returns {Object<string, [number, boolean, number]>}
   */
  get have() {
    const newest = [...this.tasks.values()].slice(-MAX_SENT)
    return Object.fromEntries(newest.map(({ id, attempt, ended, seq }) => [id, [attempt, ended, seq]]))
  }

  /** Ids of the notices that have arrived, oldest first. */
  get seen() {
    return [...this.#noticeIds].slice(-MAX_SENT)
  }

  /**
   * Keep the snapshot if it is the newest of its task; returns whether it is.
   * @param {Snapshot} snapshot
   */
  #keep(snapshot) {
    if (!supersedes(snapshot, this.tasks.get(snapshot.id))) return false
    // Deleted first, so that the entry moves to the end of the map.
    this.tasks.delete(snapshot.id)
    this.tasks.set(snapshot.id, snapshot)
    return true
  }

  #forgetOldest() {
    for (const id of [...this.#noticeIds].slice(0, -MAX_KEPT)) this.#noticeIds.delete(id)
    if (this.tasks.size <= MAX_KEPT) return
    const ended = [...this.tasks.values()].filter(snapshot => snapshot.ended)
    for (const { id } of ended.slice(0, this.tasks.size - MAX_KEPT)) this.tasks.delete(id)
  }
}
