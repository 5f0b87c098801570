/**
 * `<task-tray>`: a button with a count, and a panel that lists the visitor's tasks.
 *
 * Running tasks come before ended ones, the newest first; ended tasks stay until cleared. Which tasks were cleared is
 * stored in this browser only. Without scripts, the element shows its content, such as a link to the list of tasks.
 *
 * A morph that brings that content back, or removes the button or the panel, does not last: both are put back before
 * the page paints, and an open panel stays open.
 */
import { createElement, focusFirst, rememberStructure, setAttribute, setText } from "telltale/elements/dom.js"
import { ForeignChanges } from "telltale/elements/foreign-changes.js"
import { createLiveRegions } from "telltale/elements/live-regions.js"
import { pageText } from "telltale/elements/page-text.js"
import { health } from "telltale/health.js"
import { connect } from "telltale/index.js"
import { urlFor } from "telltale/page.js"
/** @import { Live } from "telltale/live/live.js" */
/** @import { Snapshot } from "telltale/live/snapshots.js" */

const TICK_MS = 1_000
/** Snapshots that arrive within this time are shown together. */
const BATCH_MS = 50
const MAX_ROWS = 20
const STORAGE_KEY = "telltale.cleared"
const MAX_CLEARED = 200
/** @type {MutationObserverInit} what others may change in the element */
const WATCHED = { attributes: true, childList: true, subtree: true }

/**
 * @typedef {object} Row
 * @property {HTMLLIElement} element
 * @property {HTMLAnchorElement} link
 * @property {HTMLElement} figure
 * @property {HTMLElement} status
 * @property {HTMLProgressElement} bar
 * @property {number} attempt the attempt that the bar shows; 0 before the first
 */

let trayCount = 0

export class TaskTray extends HTMLElement {
  /** @type {AbortController | null} aborts when the element leaves the page */
  #controller = null
  /** @type {Live} */
  #live
  /** @type {Map<string, Row>} by task id */
  #rows = new Map()
  #cleared = new Set(loadCleared())
  /** @type {number | null} */
  #showTimer = null
  /** @type {HTMLButtonElement} */
  #button
  /** @type {HTMLElement} */
  #count
  /** @type {HTMLElement} */
  #panel
  /** @type {HTMLUListElement} */
  #list
  /** @type {HTMLElement} */
  #empty
  /** @type {HTMLButtonElement} */
  #clear
  /** @type {HTMLElement} says that the visitor's tasks are not followed any more */
  #line
  /** @type {() => boolean} whether button and panel are as they were created */
  #isIntact = () => false
  /** Whether the panel should be open: one that is removed from the page is closed without an event. */
  #staysOpen = false
  #changes = new ForeignChanges(this, WATCHED, () => this.#onForeignChange())

  connectedCallback() {
    this.#controller = new AbortController()
    const { signal } = this.#controller
    createLiveRegions()
    this.#live = connect()
    this.#staysOpen = false
    this.#changes.observe(signal)
    this.#changes.ignore(() => this.#restoreContent())
    const onGranted = (/** @type {boolean} */ isGranted) => {
      this.#changes.ignore(() => (this.#line.hidden = isGranted))
      this.#showSoon()
    }
    this.#live.tasks(() => this.#showSoon(), { signal, onGranted })
    // A toggle event does not bubble.
    const onToggle = (/** @type {Event} */ event) => this.#onToggle(/** @type {ToggleEvent} */ (event))
    this.addEventListener("toggle", onToggle, { signal, capture: true })
    const ticking = setInterval(() => this.#isOpen && this.#show(), TICK_MS)
    signal.addEventListener("abort", () => clearInterval(ticking))
    this.#show()
  }

  disconnectedCallback() {
    this.#controller?.abort()
    this.#controller = null
  }

  /** Show the panel. */
  open() {
    if (!this.#isOpen) this.#panel.showPopover()
  }

  get #isOpen() {
    return this.#panel.matches(":popover-open")
  }

  #onForeignChange() {
    this.#changes.ignore(() => {
      this.#restoreContent()
      if (this.#staysOpen && !this.#isOpen) this.#panel.showPopover()
      setAttribute(this.#button, "aria-expanded", String(this.#isOpen))
    })
    this.#show()
  }

  /** Put button and panel into the element; create them anew if they were changed. */
  #restoreContent() {
    if (!this.#isIntact()) this.#createContent()
    const { children } = this
    const isComplete = children.length === 2 && children[0] === this.#button && children[1] === this.#panel
    if (!isComplete) this.replaceChildren(this.#button, this.#panel)
  }

  #createContent() {
    const texts = pageText()
    const id = `telltale-tray-${++trayCount}`
    const title = texts.message("tray")
    this.#count = createElement("span", { className: "telltale-count", hidden: true })
    this.#button = createElement(
      "button",
      { type: "button", className: "telltale-tray-button", "aria-expanded": "false" },
      createElement("span", { className: "telltale-tray-label" }, title),
      this.#count,
    )
    this.#button.setAttribute("popovertarget", id)
    const close = createElement(
      "button",
      { type: "button", className: "telltale-dismiss", "aria-label": texts.message("close") },
      "×",
    )
    close.addEventListener("click", () => this.#panel.hidePopover())
    this.#list = createElement("ul", { className: "telltale-rows" })
    this.#empty = createElement("p", { className: "telltale-detail" }, texts.message("tray_empty"))
    this.#clear = createElement("button", { type: "button", className: "telltale-clear" }, texts.message("clear"))
    this.#clear.addEventListener("click", () => this.#clearEnded())
    const isLineHidden = this.#line?.hidden ?? true
    this.#line = createElement("p", { className: "telltale-detail", hidden: isLineHidden }, texts.message("connection_ended"))
    this.#panel = createElement(
      "div",
      { id, popover: "auto", className: "telltale-tray-panel", role: "dialog", "aria-label": title },
      createElement("div", { className: "telltale-top" }, createElement("p", { className: "telltale-label" }, title), close),
      this.#line,
      this.#list,
      this.#empty,
      this.#clear,
    )
    this.#rows.clear()
    this.#isIntact = rememberStructure(this.#button, this.#panel)
  }

  /** @param {ToggleEvent} event */
  #onToggle({ target, newState }) {
    if (target !== this.#panel) return
    const isOpen = newState === "open"
    this.#staysOpen = isOpen
    this.#changes.ignore(() => {
      this.#button.setAttribute("aria-expanded", String(isOpen))
      if (isOpen) this.#placePanel()
    })
    if (!isOpen) return
    this.#show()
    // Opened with the keyboard, the panel takes the focus; opened with a pointer, it does not.
    if (this.#button.matches(":focus-visible")) focusFirst(this.#panel)
  }

  /** Put the panel below the button, with their ends aligned; on narrow screens the style sheet ignores this. */
  #placePanel() {
    const { bottom, left, right } = this.#button.getBoundingClientRect()
    const isRtl = getComputedStyle(this).direction === "rtl"
    const end = Math.max(8, isRtl ? left : document.documentElement.clientWidth - right)
    this.#panel.style.setProperty("--telltale-tray-top", `${Math.round(bottom + 8)}px`)
    this.#panel.style.setProperty("--telltale-tray-end", `${Math.round(end)}px`)
  }

  #showSoon() {
    this.#showTimer ??= setTimeout(() => {
      this.#showTimer = null
      this.#show()
    }, BATCH_MS)
  }

  #clearEnded() {
    for (const snapshot of this.#live.snapshots.values()) if (snapshot.ended) this.#cleared.add(clearedKey(snapshot))
    saveCleared(this.#cleared)
    this.#show()
    this.#panel.querySelector("button")?.focus()
  }

  /** The tasks to list, in order. */
  get #tasks() {
    return [...this.#live.snapshots.values()]
      .filter(snapshot => !this.#cleared.has(clearedKey(snapshot)))
      .sort((a, b) => Number(a.ended) - Number(b.ended) || b.created_at - a.created_at)
  }

  #show() {
    if (this.#controller) this.#changes.ignore(() => this.#showTasks(this.#tasks))
  }

  /** @param {Snapshot[]} tasks */
  #showTasks(tasks) {
    this.#showCount(tasks.filter(snapshot => !snapshot.ended).length)
    if (!this.#isOpen) return
    this.#showRows(tasks.slice(0, MAX_ROWS))
    this.#empty.hidden = tasks.length > 0
    this.#clear.hidden = !tasks.some(snapshot => snapshot.ended)
  }

  /** @param {number} running how many tasks have not ended */
  #showCount(running) {
    const texts = pageText()
    setText(this.#count, running ? texts.number(running) : "")
    this.#count.hidden = running === 0
    const label = `${texts.message("tray")}: ${texts.plural("open_tasks", running)}`
    setAttribute(this.#button, "aria-label", running ? label : null)
    setAttribute(this, "running", running || null)
  }

  /** @param {Snapshot[]} snapshots */
  #showRows(snapshots) {
    const elements = snapshots.map(snapshot => this.#showRow(snapshot))
    for (const id of this.#rows.keys()) if (!snapshots.some(snapshot => snapshot.id === id)) this.#rows.delete(id)
    const { children } = this.#list
    const isUnchanged = elements.length === children.length && elements.every((element, i) => children[i] === element)
    if (!isUnchanged) this.#list.replaceChildren(...elements)
  }

  /** @param {Snapshot} snapshot */
  #showRow(snapshot) {
    const now = this.#live.nowOf(snapshot.id)
    const taskHealth = health(snapshot, now, this.#live.limits)
    const text = pageText().describe(snapshot, taskHealth, now)
    const row = this.#rows.get(snapshot.id) ?? this.#createRow(snapshot)
    const { element, link, figure, status, bar } = row
    setAttribute(element, "state", snapshot.state)
    setAttribute(element, "health", taskHealth)
    setText(link, snapshot.label)
    setText(figure, text.figure)
    setText(status, text.status)
    bar.hidden = snapshot.ended
    setAttribute(bar, "aria-label", snapshot.label)
    setAttribute(bar, "aria-valuetext", text.valueText)
    // Within an attempt the bar never moves backwards.
    const isSameAttempt = row.attempt === snapshot.attempt
    const filled = Math.max(isSameAttempt && bar.hasAttribute("value") ? bar.value : 0, text.filled ?? 0)
    row.attempt = snapshot.attempt
    if (text.filled === null && filled === 0) bar.removeAttribute("value")
    else bar.value = filled
    return element
  }

  /**
   * @param {Snapshot} snapshot
   * @returns {Row}
   */
  #createRow({ id }) {
    const href = urlFor(this.#live.page.urls.task, id)
    const link = createElement("a", { href, className: "telltale-label" })
    const figure = createElement("span", { className: "telltale-figure", "aria-hidden": "true" })
    const bar = createElement("progress", { className: "telltale-bar", max: 1 })
    const status = createElement("p", { className: "telltale-status" })
    const top = createElement("div", { className: "telltale-top" }, link, figure)
    const element = createElement("li", { className: "telltale-row" }, top, bar, status)
    const row = { element, link, figure, status, bar, attempt: 0 }
    this.#rows.set(id, row)
    return row
  }
}

/**
 * What is stored of a cleared task: a later attempt is listed again.
 * @param {Snapshot} snapshot
 */
const clearedKey = ({ id, attempt, ended }) => (ended ? `${id} ${attempt}` : id)

/** @returns {string[]} */
function loadCleared() {
  try {
    return JSON.parse(localStorage.getItem(STORAGE_KEY) ?? "[]")
  } catch {
    return []
  }
}

/** @param {Set<string>} cleared */
function saveCleared(cleared) {
  try {
    localStorage.setItem(STORAGE_KEY, JSON.stringify([...cleared].slice(-MAX_CLEARED)))
  } catch {
    // Without storage, the next page lists the tasks again.
  }
}
