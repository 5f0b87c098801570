/**
 * The fold of all server messages, by whatever transport and in whatever order: the newest snapshot of each
 * task, each notice once, every event. Pure. Of two snapshots the larger by (attempt, ended, seq) is the newer.
 */

/**
 * @typedef {{fraction: ?number, current: ?number, total: ?number, unit: string, message: string, stage: string,
 *   step: number, steps: ?number}} Progress
 * @typedef {{id: string, attempt: number, ended: boolean, seq: number, state: string, label: string,
 *   progress: Progress, error: ?string, reference: ?string, result: ?string, created_at: number,
 *   started_at: ?number, moved_at: ?number, beat_at: ?number, ended_at: ?number, due_at: ?number,
 *   ahead: ?number, is_listening: ?boolean,
 *   remaining_s: ?number, usual_s: ?number[], cancel_requested: boolean, no_cancel: ?string}} Snapshot
 * @typedef {{id: string, topic: string, level: string, text: string, url: ?string, task: ?string}} Notice
 * @typedef {{topic: string, name: string, data: any}} TopicEvent
 * @typedef {{tasks: Snapshot[], notices: Notice[], events: TopicEvent[], ignored: [string, string][]}} News
 */

/** How many tasks and notices a server is told of on connecting; a message to it has a bound. */
const TOLD = 150
/** How many ended tasks and notices are remembered on a page that stays open for days. */
const REMEMBERED = 1_000

/**
 * Whether `a` is to be shown instead of `b`.
 * @param {Snapshot} a
 * @param {Snapshot | undefined} b
 */
export const supersedes = (a, b) =>
  !b || (a.attempt - b.attempt || Number(a.ended) - Number(b.ended) || a.seq - b.seq) > 0

export class Newest {
  /** @type {Map<string, Snapshot>} newest change last */
  tasks = new Map()
  /** @type {Set<string>} */
  #notices = new Set()

  /**
   * What of a message is new.
   * @param {{tasks?: Snapshot[], notices?: Notice[], events?: TopicEvent[]}} message
   * @returns {News}
   */
  fold(message) {
    const news = { tasks: [], notices: [], events: [...(message.events ?? [])], ignored: [] }
    for (const snapshot of message.tasks ?? []) {
      if (this.#keep(snapshot)) news.tasks.push(snapshot)
      else news.ignored.push(["task", snapshot.id])
    }
    for (const notice of message.notices ?? []) {
      if (this.#notices.has(notice.id)) news.ignored.push(["notice", notice.id])
      else {
        this.#notices.add(notice.id)
        news.notices.push(notice)
      }
    }
    this.#forget()
    return news
  }

  /** What to tell a server on connecting, so that it sends only what is newer. */
  get have() {
    const latest = [...this.tasks.values()].slice(-TOLD)
    return Object.fromEntries(latest.map(s => [s.id, [s.attempt, s.ended, s.seq]]))
  }

  /** The notices that came, oldest first. */
  get seen() {
    return [...this.#notices].slice(-TOLD)
  }

  #keep(snapshot) {
    if (!supersedes(snapshot, this.tasks.get(snapshot.id))) return false
    this.tasks.delete(snapshot.id)
    this.tasks.set(snapshot.id, snapshot)
    return true
  }

  #forget() {
    for (const id of [...this.#notices].slice(0, -REMEMBERED)) this.#notices.delete(id)
    if (this.tasks.size <= REMEMBERED) return
    const ended = [...this.tasks.values()].filter(s => s.ended)
    for (const { id } of ended.slice(0, this.tasks.size - REMEMBERED)) this.tasks.delete(id)
  }
}
