/**
 * The toasts of this page. They outlive the element that shows them: a soft navigation may replace it, and a morph may
 * empty it, but a notice is shown to its end.
 */
import { createElement } from "telltale/elements/dom.js"
import { pageText } from "telltale/elements/page-text.js"
import { safeUrl } from "telltale/page.js"
/** @import { Notice } from "telltale/live/snapshots.js" */

/** How long good news stays: at least this long, longer texts in proportion to their length. */
const SHORTEST_MS = 6_000
const PER_CHARACTER_MS = 70
/** How many dismissed notices are remembered, so that a restored page does not show them again. */
const MAX_DISMISSED = 1_000

/**
 * @typedef {object} Toast
 * @property {string} id of the notice
 * @property {string | null} topic of the notice; null in a toast that a restored page brought
 * @property {number} leftMs how much longer it stays
 */

export class PageToasts {
  /** @type {Map<HTMLElement, Toast>} not dismissed yet */
  #toasts = new Map()
  /** @type {Set<string>} ids of notices */
  #dismissed = new Set()

  /**
   * Create the toast of a notice, outside the page.
   * @param {Notice} notice
   */
  add(notice) {
    const element = createToast(notice)
    this.#toasts.set(element, { id: notice.id, topic: notice.topic, leftMs: shownMs(notice) })
  }

  /**
   * The toasts that are not in the page.
   * @param {(topic: string) => boolean} isForVisitor
   */
  missing(isForVisitor) {
    return [...this.#toasts]
      .filter(([element, { topic }]) => !element.isConnected && (topic === null || isForVisitor(topic)))
      .map(([element]) => element)
  }

  /**
   * Decide about a toast in the page: whether it stays. A restored page brings copies of toasts: of one that is shown
   * already, or was dismissed, the copy goes; of another, it is a toast like any other.
   * @param {HTMLElement} element
   */
  adopt(element) {
    if (this.#toasts.has(element)) return true
    const id = element.getAttribute("notice") ?? ""
    const isKnown = this.#dismissed.has(id) || [...this.#toasts.values()].some(toast => toast.id === id)
    if (isKnown) return false
    const notice = { level: element.getAttribute("level") ?? "", text: element.querySelector("p")?.textContent ?? "" }
    this.#toasts.set(element, { id, topic: null, leftMs: shownMs(notice) })
    return true
  }

  /**
   * Let time pass for a toast; returns whether it stays.
   * @param {HTMLElement} element
   * @param {number} ms
   */
  pass(element, ms) {
    const toast = this.#toasts.get(element)
    if (toast) toast.leftMs -= ms
    return !toast || toast.leftMs > 0
  }

  /** @param {HTMLElement} element */
  dismiss(element) {
    const id = this.#toasts.get(element)?.id
    this.#toasts.delete(element)
    element.remove()
    if (id) this.#dismissed.add(id)
    for (const oldest of [...this.#dismissed].slice(0, -MAX_DISMISSED)) this.#dismissed.delete(oldest)
  }
}

/** @param {Notice} notice */
function createToast({ id, level, text, url }) {
  const texts = pageText()
  const paragraph = createElement("p", {}, text)
  const href = safeUrl(url)
  if (href) paragraph.append(" ", createElement("a", { href }, texts.message("open")))
  const dismiss = createElement(
    "button",
    { type: "button", className: "telltale-dismiss", "aria-label": texts.message("dismiss") },
    "×",
  )
  const toast = createElement("div", { className: "telltale-toast" }, paragraph, dismiss)
  toast.setAttribute("level", level)
  toast.setAttribute("notice", id)
  return toast
}

/** @param {Pick<Notice, "level" | "text">} notice */
function shownMs({ level, text }) {
  const isGood = level === "success" || level === "info"
  return isGood ? Math.max(SHORTEST_MS, text.length * PER_CHARACTER_MS) : Infinity
}
