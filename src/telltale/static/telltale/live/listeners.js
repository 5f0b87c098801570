/**
 * Who wants to hear of what: functions by key, each until its signal ends. Pure.
 *
 * A listener that throws hinders no other; its error is reported as if nobody had called it.
 */
export class Listeners {
  /** @type {Map<string, Set<Function>>} */
  #byKey = new Map()

  /**
   * @param {string} key
   * @param {Function} listener
   * @param {AbortSignal} [signal]
   */
  add(key, listener, signal) {
    if (signal?.aborted) return
    const entry = value => listener(value)
    if (!this.#byKey.has(key)) this.#byKey.set(key, new Set())
    this.#byKey.get(key).add(entry)
    signal?.addEventListener("abort", () => this.#remove(key, entry), { once: true })
  }

  tell(key, value) {
    for (const listener of [...(this.#byKey.get(key) ?? [])]) {
      try {
        listener(value)
      } catch (error) {
        queueMicrotask(() => {
          throw error
        })
      }
    }
  }

  #remove(key, entry) {
    const entries = this.#byKey.get(key)
    entries?.delete(entry)
    if (entries?.size === 0) this.#byKey.delete(key)
  }
}
