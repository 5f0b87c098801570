/**
 * `<task-toasts>`: shows the visitor's notices, each on only one of the visitor's pages.
 *
 * A notice is taken when it can be seen and there is room for it, shown only if the server grants it, and confirmed
 * when it has been painted. The others wait until a toast leaves, on this page, another or the next. Good news leaves
 * after a while, except while the pointer or the focus is on it, something covers it or the page is hidden; errors and
 * warnings stay until dismissed. F6 moves the focus here, Esc dismisses a toast and returns the focus to where it was. A
 * message that `<task-messages>` shows in sight, and a task's end that a visible `<task-progress>` shows, get no toast.
 *
 * Toasts belong to the page (`page-toasts.js`): a morph that removes them, or another `<task-toasts>` in place of this
 * one, ends none of them.
 */
import { createElement, focusFirst, isCovered, isPainted, setAttribute, setText } from "telltale/elements/dom.js"
import { ForeignChanges } from "telltale/elements/foreign-changes.js"
import { announce, createLiveRegions } from "telltale/elements/live-regions.js"
import { NoticeQueue } from "telltale/elements/notice-queue.js"
import { noticeServer, queueEnvironment } from "telltale/elements/notice-server.js"
import { pageText } from "telltale/elements/page-text.js"
import { PageToasts } from "telltale/elements/page-toasts.js"
import { isForVisitor } from "telltale/elements/visitor.js"
import { connect } from "telltale/index.js"
import { notifyWhileHidden } from "telltale/notifications/hidden-page.js"
/** @import { Display } from "telltale/elements/notice-queue.js" */
/** @import { Live } from "telltale/live/live.js" */
/** @import { Notice } from "telltale/live/snapshots.js" */

const MAX_TOASTS = 3
const TICK_MS = 250
/** @type {MutationObserverInit} what others may change in the element */
const WATCHED = { childList: true, attributeFilter: ["role", "aria-label"] }

const pageToasts = new PageToasts()
/** @type {Set<TaskToasts>} the elements that are in the page */
const connected = new Set()
/** @type {HTMLElement | null} where the focus was before it came into a toast */
let focusedBefore = null

export class TaskToasts extends HTMLElement {
  /** @type {AbortController | null} aborts when the element leaves the page */
  #controller = null
  /** @type {Live} */
  #live
  /** @type {NoticeQueue} */
  #queue
  /** @type {HTMLAnchorElement} leads to the list of all messages */
  #more
  /** How many toasts may be shown at once. */
  #room = MAX_TOASTS
  #changes = new ForeignChanges(this, WATCHED, () => this.#restoreContent())

  connectedCallback() {
    this.#controller = new AbortController()
    const { signal } = this.#controller
    createLiveRegions()
    this.#live = connect()
    this.#more ??= createElement("a", {
      href: this.#live.page.urls.messages,
      className: "telltale-more",
      hidden: true,
      onclick: (/** @type {MouseEvent} */ event) => this.#onMore(event),
    })
    connected.add(this)
    this.#restoreContent()
    this.#room = Math.max(MAX_TOASTS, this.#toasts.length)
    this.#changes.observe(signal)
    const queue = (this.#queue = new NoticeQueue(this.#display(), queueEnvironment()))
    signal.addEventListener("abort", () => queue.stop())
    this.#live.notices(notice => queue.add(notice), { signal })
    notifyWhileHidden(this.#live)
    this.#live.states(() => queue.retryNow(), { signal })
    document.addEventListener("visibilitychange", () => queue.retryNow(), { signal })
    this.addEventListener("click", event => this.#onClick(event), { signal })
    this.addEventListener("focusin", event => this.#onFocus(event), { signal })
    document.addEventListener("keydown", event => this.#onKey(event), { signal })
    const ticking = setInterval(() => this.#tick(), TICK_MS)
    signal.addEventListener("abort", () => clearInterval(ticking))
  }

  disconnectedCallback() {
    connected.delete(this)
    this.#controller?.abort()
    this.#controller = null
    // A new page's element may have come before the old page's went.
    for (const element of connected) element.#restoreContent()
  }

  /** @returns {Display} */
  #display() {
    return {
      isReady: () => !document.hidden && ["live", "polling"].includes(this.#live.state),
      hasRoom: () => this.#toasts.length < this.#room,
      isShownElsewhere: notice => isShownByTask(notice) || isListed(notice),
      ...noticeServer(this.#live),
      show: notice => {
        if (connected.size === 0) return false
        this.#show(notice)
        return true
      },
      onChange: () => this.#showCount(),
    }
  }

  /** @param {Notice} notice */
  #show(notice) {
    pageToasts.add(notice)
    // While the server was asked, another element may have taken the place of this one.
    const element = this.isConnected ? this : [...connected][0]
    if (element) element.#restoreContent()
    const isBad = notice.level === "error" || notice.level === "warning"
    announce(notice.id, notice.text, { urgent: isBad })
  }

  /** Put the page's toasts and the link into the element, and remove copies that a restored page brought. */
  #restoreContent() {
    this.#changes.ignore(() => {
      setAttribute(this, "role", "region")
      setAttribute(this, "aria-label", pageText().message("toasts"))
      for (const toast of this.#toasts) if (!pageToasts.adopt(toast)) toast.remove()
      for (const more of this.querySelectorAll(".telltale-more")) if (more !== this.#more) more.remove()
      const missing = pageToasts.missing(topic => isForVisitor(this.#live, topic))
      if (this.#more.parentNode !== this) this.append(this.#more)
      this.#more.before(...missing) // It stays in its place: an element that is moved loses the focus.
    })
  }

  /** @returns {HTMLElement[]} */
  get #toasts() {
    return [.../** @type {NodeListOf<HTMLElement>} */ (this.querySelectorAll(".telltale-toast"))]
  }

  #tick() {
    if (document.hidden || this.matches(":hover") || this.contains(document.activeElement)) return
    for (const toast of this.#toasts) if (!isCovered(toast) && !pageToasts.pass(toast, TICK_MS)) this.#dismiss(toast)
  }

  /** @param {HTMLElement} toast */
  #dismiss(toast) {
    if (toast.contains(document.activeElement)) this.#focusNeighbour(toast) || focusBefore()
    this.#changes.ignore(() => pageToasts.dismiss(toast))
    this.#room = Math.max(MAX_TOASTS, Math.min(this.#room, this.#toasts.length))
    this.#showCount()
    this.#queue.showNext()
  }

  /**
   * Move the focus to the next toast, or the one before. Returns whether there is one.
   * @param {HTMLElement} toast
   */
  #focusNeighbour(toast) {
    const toasts = this.#toasts
    const index = toasts.indexOf(toast)
    const button = (toasts[index + 1] ?? toasts[index - 1])?.querySelector("button")
    button?.focus()
    return Boolean(button)
  }

  /** Show "and 4 more": the number of notices for which there is no room. */
  #showCount() {
    const shown = this.#toasts.length
    const count = shown ? Math.max(0, this.#queue.length - (this.#room - shown)) : 0
    const hadFocus = this.#more === document.activeElement
    this.#more.hidden = count === 0
    const last = this.#toasts.at(-1)
    if (hadFocus && count === 0) last ? focusFirst(last) : focusBefore()
    setText(this.#more, count ? pageText().plural("more", count) : "")
  }

  /**
   * On the list of messages there is no other page to go to: make room for more toasts.
   * @param {MouseEvent} event
   */
  #onMore(event) {
    if (this.#more.pathname !== location.pathname) return
    event.preventDefault()
    this.#room = this.#toasts.length + MAX_TOASTS
    this.#queue.showNext()
  }

  /** @param {MouseEvent} event */
  #onClick({ target }) {
    const toast = target instanceof Element && target.closest(".telltale-dismiss")?.closest(".telltale-toast")
    if (toast instanceof HTMLElement) this.#dismiss(toast)
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
    if (!focused) return
    focusBefore()
    this.#dismiss(focused)
  }

  /** @param {FocusEvent} event */
  #onFocus({ relatedTarget }) {
    if (relatedTarget instanceof Node && this.contains(relatedTarget)) return
    focusedBefore = relatedTarget instanceof HTMLElement ? relatedTarget : null
  }
}

/** Return the focus to where it was before it came into a toast, if that is still there. */
function focusBefore() {
  if (focusedBefore?.isConnected) focusedBefore.focus()
}

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

/**
 * Whether a `<task-messages>` shows the message in sight.
 * @param {Notice} notice
 */
function isListed({ id }) {
  return [...document.querySelectorAll("task-messages:defined .telltale-message")].some(
    message => message.getAttribute("notice") === id && isPainted(message),
  )
}
