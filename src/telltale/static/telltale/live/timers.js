/** Timers by name: a timer that is set again replaces the running one of that name. */
export class NamedTimers {
  #env
  /** @type {Map<string, number>} running timers, by name */
  #timers = new Map()

  /**
   * @param {object} env
   * @param {(callback: () => void, ms: number) => number} env.setTimeout
   * @param {(timer: number | undefined) => void} env.clearTimeout
   */
  constructor(env) {
    this.#env = env
  }

  /**
   * @param {string} name
   * @param {number} ms
   * @param {() => void} callback
   */
  set(name, ms, callback) {
    this.clear(name)
    this.#timers.set(name, this.#env.setTimeout(callback, ms))
  }

  /** @param {...string} names */
  clear(...names) {
    for (const name of names) {
      this.#env.clearTimeout(this.#timers.get(name))
      this.#timers.delete(name)
    }
  }

  /**
   * Whether the timer was set and not cleared; it may have run already.
   * @param {string} name
   */
  has(name) {
    return this.#timers.has(name)
  }
}
