/**
 * When elements show what is new: all of them in one frame, however many updates have arrived since the last.
 *
 * An element out of sight is left alone until it comes into sight. Its own timer shows what waits, once a second: screen
 * readers read elements outside the window too, and a hidden page draws no frames.
 */

/** Elements this far outside the window count as in sight: scrolling finds them up to date. */
const MARGIN = "200px"

/** The elements of a page that wait for the next frame. */
export class RenderQueue {
  /** @type {Set<() => void>} */
  #waiting = new Set()
  #isRequested = false
  #requestFrame

  /** @param {(callback: () => void) => void} requestFrame calls back before the next paint */
  constructor(requestFrame) {
    this.#requestFrame = requestFrame
  }

  /** @param {() => void} show called in the next frame, once */
  add(show) {
    this.#waiting.add(show)
    if (this.#isRequested) return
    this.#isRequested = true
    this.#requestFrame(() => this.#showAll())
  }

  /** @param {() => void} show */
  remove(show) {
    this.#waiting.delete(show)
  }

  #showAll() {
    this.#isRequested = false
    const waiting = [...this.#waiting]
    this.#waiting.clear()
    for (const show of waiting) {
      try {
        show()
      } catch (error) {
        reportError(error) // one element that fails stops no other
      }
    }
  }
}

/** What one element has yet to show. */
export class Rendering {
  #queue
  #show
  #isInSight = true
  #isWaiting = false

  /**
   * @param {() => void} show shows the newest state, and calls `done`
   * @param {RenderQueue} [queue]
   */
  constructor(show, queue = pageQueue()) {
    this.#show = show
    this.#queue = queue
  }

  /** Show soon: in the next frame, or when the element comes into sight. */
  request() {
    this.#isWaiting = true
    if (this.#isInSight) this.#queue.add(this.#show)
  }

  /** The newest state is shown. */
  done() {
    this.#isWaiting = false
    this.#queue.remove(this.#show)
  }

  /** @param {boolean} isInSight */
  setInSight(isInSight) {
    this.#isInSight = isInSight
    if (!isInSight) this.#queue.remove(this.#show)
    else if (this.#isWaiting) this.#show()
  }

  /**
   * Watch whether the element is in sight, until the signal aborts.
   * @param {Element} element
   * @param {AbortSignal} signal
   */
  observe(element, signal) {
    this.#isInSight = true
    sight.set(element, this)
    pageObserver().observe(element)
    signal.addEventListener("abort", () => {
      pageObserver().unobserve(element)
      this.done()
    })
  }
}

/** @type {WeakMap<Element, Rendering>} */
const sight = new WeakMap()
/** @type {IntersectionObserver | null} */
let observer = null
/** @type {RenderQueue | null} */
let queue = null

/** One for all elements of the page. */
const pageQueue = () => (queue ??= new RenderQueue(callback => requestAnimationFrame(callback)))

const pageObserver = () =>
  (observer ??= new IntersectionObserver(
    entries => entries.forEach(({ target, isIntersecting }) => sight.get(target)?.setInSight(isIntersecting)),
    { rootMargin: MARGIN },
  ))
