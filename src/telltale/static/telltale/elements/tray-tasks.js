/**
 * Which tasks the tray lists: those that were not cleared; open ones first, the newest first, then those that ended last.
 *
 * Which tasks were cleared is stored in this browser only, for all its tabs.
 */
/** @import { Snapshot } from "telltale/live/snapshots.js" */

export const STORAGE_KEY = "telltale.cleared"
const MAX_CLEARED = 200

export class TrayTasks {
  #storage
  /** @type {Set<string>} */
  #cleared = new Set()

  /** @param {() => Pick<Storage, "getItem" | "setItem">} [storage] a browser may refuse even to name it */
  constructor(storage = () => localStorage) {
    this.#storage = storage
    this.load()
  }

  /** Take in what was cleared in other tabs. */
  load() {
    for (const key of this.#stored) this.#cleared.add(key)
  }

  /**
   * The tasks to list, in order.
   * @param {Iterable<Snapshot>} snapshots all that the page knows
   * @returns {Snapshot[]}
   */
  list(snapshots) {
    return [...snapshots].filter(snapshot => !this.#cleared.has(clearedKey(snapshot))).sort(inOrder)
  }

  /**
   * Clear the ended ones of these tasks.
   * @param {Iterable<Snapshot>} shown those that the person has seen in the list
   */
  clear(shown) {
    this.load()
    for (const snapshot of shown) if (snapshot.ended) this.#cleared.add(clearedKey(snapshot))
    try {
      this.#storage().setItem(STORAGE_KEY, JSON.stringify([...this.#cleared].slice(-MAX_CLEARED)))
    } catch {
      // Without storage, the next page lists the tasks again.
    }
  }

  /** @returns {string[]} */
  get #stored() {
    try {
      const stored = JSON.parse(this.#storage().getItem(STORAGE_KEY) ?? "[]")
      return Array.isArray(stored) ? stored : []
    } catch {
      return []
    }
  }
}

/**
 * What is stored of a cleared task: a later attempt is listed again.
 * @param {Snapshot} snapshot
 */
const clearedKey = ({ id, attempt, ended }) => (ended ? `${id} ${attempt}` : id)

/**
 * The order of the tray, which is that of the whole list.
 * @param {Snapshot} a
 * @param {Snapshot} b
 */
const inOrder = (a, b) =>
  Number(a.ended) - Number(b.ended) || (b.ended_at ?? 0) - (a.ended_at ?? 0) || b.created_at - a.created_at
