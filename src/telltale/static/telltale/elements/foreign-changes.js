/**
 * Reports changes of an element's content that its own code did not make: by a morph, a framework, another script.
 *
 * Changes are reported before the page paints. A script that answers each repair with a new change, such as a
 * translator, gets at most `MAX_PER_WINDOW` repairs per second.
 */

const MAX_PER_WINDOW = 20
const WINDOW_MS = 1_000

export class ForeignChanges {
  #element
  #options
  #onChange
  #observer
  /** How many changes were reported since `#windowAt`. */
  #count = 0
  #windowAt = -Infinity
  /** @type {number | null} runs while a report is delayed */
  #timer = null

  /**
   * @param {Element} element
   * @param {MutationObserverInit} options which changes to report
   * @param {() => void} onChange makes its own changes inside `ignore`
   */
  constructor(element, options, onChange) {
    this.#element = element
    this.#options = options
    this.#onChange = onChange
    this.#observer = new MutationObserver(() => this.#report())
  }

  /** @param {AbortSignal} signal ends the observation */
  observe(signal) {
    this.#observer.observe(this.#element, this.#options)
    signal.addEventListener("abort", () => this.#stop())
  }

  /**
   * Make changes that are not reported. Earlier changes by others are reported first.
   * @param {() => void} change
   */
  ignore(change) {
    if (this.#observer.takeRecords().length > 0) this.#report()
    change()
    this.#observer.takeRecords()
  }

  #stop() {
    this.#observer.disconnect()
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
  }

  #report() {
    if (this.#timer !== null) return
    const now = performance.now()
    if (now - this.#windowAt >= WINDOW_MS) {
      this.#windowAt = now
      this.#count = 0
    }
    if (++this.#count <= MAX_PER_WINDOW) return this.#onChange()
    this.#timer = setTimeout(() => {
      this.#timer = null
      this.#onChange()
    }, WINDOW_MS)
  }
}
