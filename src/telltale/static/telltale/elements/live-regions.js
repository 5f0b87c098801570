/**
 * Announcements to screen readers: one polite and one assertive live region for the whole page.
 *
 * What comes within a moment is read together. Polite announcements are at least 5 s apart. Urgent ones wait until
 * those before them can have been read: a text that is put into a region too early replaces the one that is being read.
 *
 * A soft navigation or a morph may remove the regions from the page. They are put back at once, because screen
 * readers announce only what changes in a region that is there already.
 */
import { AnnouncementQueue } from "telltale/elements/announcement-queue.js"

const BATCH_MS = 100
const POLITE_APART_MS = 5_000
/** A little more than a screen reader takes for a character. */
const READING_MS = 70
const [MIN_READING_MS, MAX_READING_MS] = [2_000, 15_000]

/** @param {string[]} texts */
const readingTime = texts =>
  Math.min(MAX_READING_MS, Math.max(MIN_READING_MS, texts.join(" ").length * READING_MS))

/** One region, with the texts that wait for it. */
class LiveRegion {
  element
  #queue
  /** @type {number | null} */
  #timer = null

  /**
   * @param {"status" | "alert"} role
   * @param {(texts: string[]) => number} pauseAfter in milliseconds
   */
  constructor(role, pauseAfter) {
    this.element = createRegion(role)
    this.#queue = new AnnouncementQueue(pauseAfter)
  }

  /**
   * @param {string} about
   * @param {string} text
   */
  announce(about, text) {
    this.#queue.add(about, text)
    this.#announceSoon()
  }

  /** @param {string} about */
  cancel(about) {
    this.#queue.remove(about)
  }

  #announceSoon() {
    if (this.#queue.isEmpty) return
    this.#timer ??= setTimeout(() => this.#fill(), Math.max(BATCH_MS, this.#queue.delay(performance.now())))
  }

  #fill() {
    this.#timer = null
    const texts = this.#queue.take(performance.now())
    if (texts.length > 0) fillRegion(this.element, texts)
    this.#announceSoon()
  }
}

class LiveRegions {
  #polite = new LiveRegion("status", () => POLITE_APART_MS)
  #urgent = new LiveRegion("alert", readingTime)
  #observer
  /** @type {HTMLElement | null} the body that is observed */
  #body = null

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
    const regions = [this.#polite.element, this.#urgent.element]
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
    this.#polite.announce(about, text)
  }

  /**
   * @param {string} about
   * @param {string} text
   */
  announceUrgently(about, text) {
    this.#polite.cancel(about)
    this.#urgent.announce(about, text)
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
 * @param {string[]} texts
 */
function fillRegion(region, texts) {
  // New children are read aloud even if their text is that of the last ones.
  const paragraphs = texts.map(text => Object.assign(document.createElement("p"), { textContent: text }))
  region.replaceChildren(...paragraphs)
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
