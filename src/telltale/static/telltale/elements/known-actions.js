/**
 * Which actions the visitor may take on the tasks of the page. Only the server knows: snapshots are the same for all who
 * see a task. It is asked about many tasks at once, and about each task once.
 */
import { fetchActions } from "telltale/requests.js"
/** @import { Page } from "telltale/page.js" */

/** After a failure, the server is asked again this much later at the earliest. */
const AGAIN_MS = 10_000

export class KnownActions {
  #page
  #onChange
  #env
  /** @type {Map<string, string[]>} by task id */
  #actions = new Map()
  #isAsking = false
  #askAt = -Infinity

  /**
   * @param {Pick<Page, "urls">} page
   * @param {() => void} onChange called after each answer
   * @param {{fetch: typeof fetch, now: () => number}} [env]
   */
  constructor(page, onChange, env = { fetch: globalThis.fetch.bind(globalThis), now: () => performance.now() }) {
    this.#page = page
    this.#onChange = onChange
    this.#env = env
  }

  /**
   * The actions that the visitor may take on the task at some time, "cancel" and "retry"; none while that is not known.
   * @param {string} id
   */
  of(id) {
    return this.#actions.get(id) ?? []
  }

  /**
   * Ask the server about those of the tasks of which nothing is known, unless it is being asked.
   * @param {string[]} ids
   */
  async ask(ids) {
    const unknown = ids.filter(id => !this.#actions.has(id))
    if (unknown.length === 0 || this.#isAsking || this.#env.now() < this.#askAt) return
    this.#isAsking = true
    try {
      const found = await fetchActions(this.#page, unknown, this.#env)
      // What is left out is another visitor's.
      for (const id of unknown) this.#actions.set(id, found.get(id) ?? [])
    } catch {
      this.#askAt = this.#env.now() + AGAIN_MS
    }
    this.#isAsking = false
    this.#onChange()
  }
}
