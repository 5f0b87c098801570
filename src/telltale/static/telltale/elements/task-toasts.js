/**
 * `<task-toasts>`: shows the visitor's notices, each on only one of the visitor's pages.
 *
 * A notice is taken when it can be seen and there is room for it, and shown only if the server grants it. The others
 * wait until a toast leaves, on this page, another or the next. Good news leaves after a while, except while the
 * pointer or the focus is on it or the page is hidden; errors and warnings stay until dismissed. F6 moves the focus
 * here, Esc dismisses a toast. A task's end that a visible `<task-progress>` shows gets no toast.
 */
import { createElement, focusFirst, setText } from "telltale/elements/dom.js"
import { announce, createLiveRegions } from "telltale/elements/live-regions.js"
import { NoticeQueue } from "telltale/elements/notice-queue.js"
import { pageText } from "telltale/elements/page-text.js"
import { connect } from "telltale/index.js"
import { safeUrl } from "telltale/page.js"
import { takeNotice } from "telltale/requests.js"
/** @import { Display } from "telltale/elements/notice-queue.js" */
/** @import { Live } from "telltale/live/live.js" */
/** @import { Notice } from "telltale/live/snapshots.js" */

const MAX_TOASTS = 3
/** How long good news stays: at least this long, longer texts in proportion to their length. */
const SHORTEST_MS = 6_000
const PER_CHARACTER_MS = 70
const TICK_MS = 250


export class TaskToasts extends HTMLElement {
  /** @type {AbortController | null} aborts when the element leaves the page */
  #controller = null
  /** @type {Live} */
  #live
  /** @type {NoticeQueue} */
  #queue
  /** @type {HTMLButtonElement} */
  #more
  /** How many toasts may be shown at once. */
  #room = MAX_TOASTS
  /** @type {WeakMap<Element, number>} how much longer each toast stays, in ms */
  #leftMs = new WeakMap()

  connectedCallback() {
    this.#controller = new AbortController()
    const { signal } = this.#controller
    createLiveRegions()
    this.setAttribute("role", "region")
    this.#live = connect()
    this.setAttribute("aria-label", pageText().message("toasts"))
    this.#more ??= createElement("button", {
      type: "button",
      className: "telltale-more",
      hidden: true,
      onclick: () => this.#showMore(),
    })
    if (!this.#more.isConnected) this.append(this.#more)
    const queue = (this.#queue = new NoticeQueue(this.#display(), queueEnvironment()))
    signal.addEventListener("abort", () => queue.stop())
    this.#live.notices(notice => queue.add(notice), { signal })
    this.#live.states(() => queue.retryNow(), { signal })
    document.addEventListener("visibilitychange", () => queue.retryNow(), { signal })
    document.addEventListener("keydown", event => this.#onKey(event), { signal })
    const ticking = setInterval(() => this.#tick(), TICK_MS)
    signal.addEventListener("abort", () => clearInterval(ticking))
  }

  disconnectedCallback() {
    this.#controller?.abort()
    this.#controller = null
  }

  /** @returns {Display} */
  #display() {
    return {
      isReady: () => !document.hidden && ["live", "polling"].includes(this.#live.state),
      hasRoom: () => this.#toasts.length < this.#room,
      isShownElsewhere: isShownByTask,
      // A hidden page paints no frame: this waits until a taken notice can be seen.
      nextPaint: () => new Promise(resolve => requestAnimationFrame(() => resolve())),
      take: async id => {
        const isGranted = await takeNotice(this.#live, id)
        this.#live.forgetNotice(id)
        return isGranted
      },
      show: notice => this.#show(notice),
      onChange: () => this.#showCount(),
    }
  }

  /** @param {Notice} notice */
  #show(notice) {
    this.insertBefore(this.#createToast(notice), this.#more)
    const isBad = notice.level === "error" || notice.level === "warning"
    announce(notice.id, notice.text, { urgent: isBad })
  }

  /** @param {Notice} notice */
  #createToast({ level, text, url }) {
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
    dismiss.addEventListener("click", () => this.#dismiss(toast))
    const isGood = level === "success" || level === "info"
    this.#leftMs.set(toast, isGood ? Math.max(SHORTEST_MS, text.length * PER_CHARACTER_MS) : Infinity)
    return toast
  }

  /** @returns {HTMLElement[]} */
  get #toasts() {
    return [.../** @type {NodeListOf<HTMLElement>} */ (this.querySelectorAll(".telltale-toast"))]
  }

  #tick() {
    if (document.hidden || this.matches(":hover") || this.contains(document.activeElement)) return
    for (const toast of this.#toasts) {
      const leftMs = (this.#leftMs.get(toast) ?? Infinity) - TICK_MS
      this.#leftMs.set(toast, leftMs)
      if (leftMs <= 0) this.#dismiss(toast)
    }
  }

  /** @param {HTMLElement} toast */
  #dismiss(toast) {
    const hasFocus = toast.contains(document.activeElement)
    const neighbour = toast.nextElementSibling ?? toast.previousElementSibling
    toast.remove()
    this.#room = Math.max(MAX_TOASTS, Math.min(this.#room, this.#toasts.length))
    if (hasFocus) neighbour?.querySelector("button")?.focus()
    this.#showCount()
    this.#queue.showNext()
  }

  /** Show "and 4 more": the number of notices for which there is no room. */
  #showCount() {
    const shown = this.#toasts.length
    const count = shown ? Math.max(0, this.#queue.length - (this.#room - shown)) : 0
    this.#more.hidden = count === 0
    setText(this.#more, count ? pageText().plural("more", count) : "")
  }

  /** Open the tray, which lists the tasks; without a tray, make room for more toasts. */
  #showMore() {
    const tray = document.querySelector("task-tray")
    if (tray && "open" in tray && typeof tray.open === "function") return tray.open()
    this.#room = this.#toasts.length + MAX_TOASTS
    this.#queue.showNext()
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    const toasts = this.#toasts
    if (event.key === "F6" && !event.defaultPrevented && toasts.length && !this.contains(document.activeElement)) {
      event.preventDefault()
      focusFirst(toasts[0])
    }
    if (event.key !== "Escape") return
    const focused = toasts.find(toast => toast.contains(document.activeElement))
    if (focused) this.#dismiss(focused)
  }
}

/** @returns {ConstructorParameters<typeof NoticeQueue>[1]} */
const queueEnvironment = () => ({
  setTimeout: (callback, ms) => setTimeout(callback, ms),
  clearTimeout: timer => clearTimeout(timer),
  random: Math.random,
})

/**
 * Whether a visible `<task-progress>` shows the task's end already.
 * @param {Notice} notice
 */
function isShownByTask({ task }) {
  if (!task) return false
  // Where the site does not define <task-progress>, it keeps what the server rendered and never shows the end.
  return [...document.querySelectorAll("task-progress:defined")].some(element => {
    if (element.getAttribute("task") !== task) return false
    const { top, bottom, width } = element.getBoundingClientRect()
    return width > 0 && bottom > 0 && top < innerHeight
  })
}
