/**
 * Announcements to screen readers: one polite and one assertive live region for the whole page.
 *
 * Polite announcements are at least 5 s apart; those that gather meanwhile are read together. A later one about the
 * same thing replaces an earlier one that still waits. Urgent ones don't wait.
 *
 * A soft navigation or a morph may remove the regions from the page. They are put back at once, because screen
 * readers announce only what changes in a region that is there already.
 */

const APART_MS = 5_000
const BATCH_MS = 100

class LiveRegions {
  #polite = createRegion("status")
  #assertive = createRegion("alert")
  #observer
  /** @type {HTMLElement | null} the body that is observed */
  #body = null
  /** @type {Map<string, string>} texts that wait, by what they are about */
  #waiting = new Map()
  /** @type {number | null} */
  #timer = null
  #announcedAt = -Infinity

  constructor() {
    const observer = new MutationObserver(() => this.attach())
    // A page's body may be replaced as a whole.
    observer.observe(document.documentElement, { childList: true })
    this.#observer = observer
    this.attach()
  }

  /** Put the regions into the page if they are not there, and remove copies that a restored page brings. */
  attach() {
    const { body } = document
    const regions = [this.#polite, this.#assertive]
    for (const copy of document.querySelectorAll(".telltale-spoken"))
      if (!regions.some(region => region === copy)) copy.remove()
    const missing = regions.filter(region => region.parentNode !== body)
    if (missing.length > 0) body?.append(...missing)
    if (body && body !== this.#body) this.#observer.observe((this.#body = body), { childList: true })
  }

  /**
   * @param {string} about
   * @param {string} text
   */
  announce(about, text) {
    this.#waiting.delete(about)
    this.#waiting.set(about, text)
    this.#timer ??= setTimeout(
      () => this.#flush(),
      Math.max(BATCH_MS, this.#announcedAt + APART_MS - performance.now()),
    )
  }

  /**
   * @param {string} about
   * @param {string} text
   */
  announceUrgently(about, text) {
    this.#waiting.delete(about)
    fillRegion(this.#assertive, text)
  }

  #flush() {
    this.#timer = null
    this.#announcedAt = performance.now()
    fillRegion(this.#polite, [...this.#waiting.values()].join(". "))
    this.#waiting.clear()
  }
}

/** @param {"status" | "alert"} role */
function createRegion(role) {
  // A tag of its own: a morph would turn a <div> into one of the page's.
  const region = document.createElement("telltale-spoken")
  region.className = "telltale-spoken"
  region.setAttribute("role", role)
  return region
}

/**
 * @param {HTMLElement} region
 * @param {string} text
 */
function fillRegion(region, text) {
  // A new child is read aloud even if its text is that of the last one.
  const paragraph = document.createElement("p")
  paragraph.textContent = text
  region.replaceChildren(paragraph)
}

/** @type {LiveRegions | null} */
let regions = null

/** Create the live regions. They must be in the page before their first text, so elements call this on connecting. */
export function createLiveRegions() {
  regions ??= new LiveRegions()
  regions.attach()
  return regions
}

/**
 * @param {string} about a later text about the same thing replaces an earlier one that waits
 * @param {string} text
 * @param {{urgent?: boolean}} [options]
 */
export function announce(about, text, { urgent = false } = {}) {
  if (urgent) createLiveRegions().announceUrgently(about, text)
  else createLiveRegions().announce(about, text)
}
