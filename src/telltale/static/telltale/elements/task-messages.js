/**
 * `<task-messages>`: the visitor's newest messages, which can be read again.
 *
 * The server renders the list; a notice that arrives is added at its place, also on the pages that do not show it as a
 * toast. While a message is in sight here, it gets no toast: `<task-toasts>` takes it and confirms that it was shown.
 * So a page that has this element has that one too.
 *
 * `limit`: how many messages are listed at most. Times are shown in the visitor's time zone.
 */
import { createElement, isPainted } from "telltale/elements/dom.js"
import { ForeignChanges } from "telltale/elements/foreign-changes.js"
import { createInstant, showInstant } from "telltale/elements/instant.js"
import { announce, createLiveRegions } from "telltale/elements/live-regions.js"
import { pageText } from "telltale/elements/page-text.js"
import { isForVisitor } from "telltale/elements/visitor.js"
import { connect } from "telltale/index.js"
import { safeUrl } from "telltale/page.js"
/** @import { Notice } from "telltale/live/snapshots.js" */

const DEFAULT_LIMIT = 5
/** How many notices are remembered that arrived while this page was open. */
const MAX_ARRIVED = 50
/** @type {Intl.DateTimeFormatOptions} */
const TIME = { dateStyle: "medium", timeStyle: "short" }
/** @type {MutationObserverInit} what others may change in the element */
const WATCHED = { childList: true, subtree: true }

/** @type {Map<string, Notice>} by id, the last arrived last: a page that a soft navigation restores lacks them */
const arrived = new Map()

export class TaskMessages extends HTMLElement {
  /** @type {AbortController | null} aborts when the element leaves the page */
  #controller = null
  #changes = new ForeignChanges(this, WATCHED, () => this.#restoreContent())

  connectedCallback() {
    this.#controller = new AbortController()
    const { signal } = this.#controller
    createLiveRegions()
    this.#changes.observe(signal)
    this.#restoreContent()
    connect().notices(notice => this.#onNotice(notice), { signal })
  }

  disconnectedCallback() {
    this.#controller?.abort()
    this.#controller = null
  }

  get #limit() {
    return Number(this.getAttribute("limit")) || DEFAULT_LIMIT
  }

  /** @param {Notice} notice */
  #onNotice(notice) {
    const isNew = !arrived.has(notice.id)
    arrived.set(notice.id, notice)
    for (const id of [...arrived.keys()].slice(0, -MAX_ARRIVED)) arrived.delete(id)
    const isListed = this.#find(notice.id) !== undefined
    this.#restoreContent()
    const message = this.#find(notice.id)
    // Out of sight it is shown as a toast, which announces it.
    if (!isNew || isListed || !message || document.hidden || !isPainted(message)) return
    announce(notice.id, notice.text, { urgent: notice.level === "error" || notice.level === "warning" })
  }

  /** List the notices that have arrived, and show all times in the visitor's time zone. */
  #restoreContent() {
    this.#changes.ignore(() => {
      const live = connect()
      for (const notice of arrived.values()) if (isForVisitor(live, notice.topic)) this.#list(notice)
      for (const time of this.querySelectorAll("time")) showInstant(time, () => TIME)
    })
  }

  /** @param {Notice} notice */
  #list(notice) {
    const list = this.querySelector(".telltale-messages")
    if (!list || this.#find(notice.id)) return
    const older = [...list.children].find(message => Number(message.getAttribute("created")) <= notice.created_at)
    if (!older && list.children.length >= this.#limit) return
    list.insertBefore(createMessage(notice), older ?? null)
    for (const message of [...list.children].slice(this.#limit)) message.remove()
    const empty = /** @type {HTMLElement | null} */ (this.querySelector(".telltale-hint"))
    if (empty) empty.hidden = true
  }

  /** @param {string} id of a notice */
  #find(id) {
    return [...this.querySelectorAll(".telltale-message")].find(message => message.getAttribute("notice") === id)
  }
}

/**
 * As `templates/telltale/message_list.html` renders it.
 * @param {Notice} notice
 */
function createMessage({ id, level, text, url, created_at }) {
  const texts = pageText()
  const paragraph = createElement("p", {}, text)
  const href = safeUrl(url)
  if (href) paragraph.append(" ", createElement("a", { href }, texts.message("open")))
  const mark = createElement("strong", { className: "telltale-new" }, texts.message("new_message"))
  const time = createInstant(created_at)
  const line = createElement("p", { className: "telltale-detail" }, mark, " ", time)
  const message = createElement("li", { className: "telltale-message" }, paragraph, line)
  message.setAttribute("notice", id)
  message.setAttribute("level", level)
  message.setAttribute("created", String(created_at))
  return message
}
