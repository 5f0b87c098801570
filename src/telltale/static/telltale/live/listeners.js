/**
 * Callbacks by key, each until its signal aborts. Pure.
 *
 * A listener that throws does not stop the others; its error is reported as an uncaught one.
 */
export class Listeners {
  /** @type {Map<string, Set<(value: any) => void>>} */
  #byKey = new Map()

  /**
   * @param {string} key
   * @param {(value: any) => void} listener
   * @param {AbortSignal} [signal]
   */
  add(key, listener, signal) {
    if (signal?.aborted) return
    // A wrapper of its own for each call: the same function may be added twice.
    const entry = (/** @type {any} */ value) => listener(value)
    const entries = this.#byKey.get(key) ?? new Set()
    this.#byKey.set(key, entries.add(entry))
    signal?.addEventListener("abort", () => this.#remove(key, entry), { once: true })
  }

  /**
   * Call all listeners of `key`.
   * @param {string} key
   * @param {any} value
   */
  emit(key, value) {
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

  /**
   * @param {string} key
   * @param {(value: any) => void} entry
   */
  #remove(key, entry) {
    const entries = this.#byKey.get(key)
    entries?.delete(entry)
    if (entries?.size === 0) this.#byKey.delete(key)
  }
}
