/**
 * `<task-tray>`: a button with a count, and a panel that lists the visitor's tasks, with their actions.
 *
 * Running tasks come before ended ones, the newest first; ended tasks stay until cleared. The panel has room for the
 * first of them, and leads to the page that lists all. Without scripts, the element shows its content, such as a link to
 * that page.
 *
 * A morph that brings that content back, or removes the button or the panel, does not last: both are put back before
 * the page paints, and an open panel stays open.
 */
import { createElement, focusFirst, rememberStructure, setAttribute, setText } from "telltale/elements/dom.js"
import { ForeignChanges } from "telltale/elements/foreign-changes.js"
import { KnownActions } from "telltale/elements/known-actions.js"
import { createLiveRegions } from "telltale/elements/live-regions.js"
import { pageText } from "telltale/elements/page-text.js"
import { TrayRow } from "telltale/elements/tray-row.js"
import { STORAGE_KEY, TrayTasks } from "telltale/elements/tray-tasks.js"
import { connect } from "telltale/index.js"
/** @import { Live } from "telltale/live/live.js" */
/** @import { Snapshot } from "telltale/live/snapshots.js" */

const TICK_MS = 1_000
/** Snapshots that arrive within this time are shown together. */
const BATCH_MS = 50
const MAX_ROWS = 20
/** @type {MutationObserverInit} what others may change in the element */
const WATCHED = { attributes: true, childList: true, subtree: true }

let trayCount = 0

export class TaskTray extends HTMLElement {
  /** @type {AbortController | null} aborts when the element leaves the page */
  #controller = null
  /** @type {Live} */
  #live
  /** @type {Map<string, TrayRow>} by task id */
  #rows = new Map()
  #tasks = new TrayTasks()
  /** @type {KnownActions} */
  #actions
  /** @type {Snapshot[]} the tasks that the panel shows */
  #shown = []
  /** @type {number | null} */
  #showTimer = null
  /** @type {HTMLButtonElement} */
  #button
  /** @type {HTMLElement} */
  #count
  /** @type {HTMLElement} describes the button: what is counted */
  #countText
  /** @type {HTMLElement} */
  #panel
  /** @type {HTMLButtonElement} */
  #close
  /** @type {HTMLUListElement} */
  #list
  /** @type {HTMLElement} */
  #empty
  /** @type {HTMLElement} how many tasks the panel has no room for */
  #rest
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
    this.#actions = new KnownActions(this.#live.page, () => this.#show())
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
    const onStorage = (/** @type {StorageEvent} */ { key }) => key === STORAGE_KEY && this.#onClearedElsewhere()
    window.addEventListener("storage", onStorage, { signal })
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
    this.#countText = createElement("span", { id: `${id}-count`, hidden: true })
    // Its name is what can be seen on it: a person who speaks to the computer reads the name from the page.
    this.#button = createElement(
      "button",
      { type: "button", className: "telltale-tray-button", "aria-expanded": "false" },
      createElement("span", { className: "telltale-tray-label" }, title),
      " ",
      this.#count,
      this.#countText,
    )
    this.#button.setAttribute("popovertarget", id)
    this.#close = createElement(
      "button",
      { type: "button", className: "telltale-dismiss", "aria-label": texts.message("close") },
      "×",
    )
    this.#close.addEventListener("click", () => this.#panel.hidePopover())
    this.#list = createElement("ul", { className: "telltale-rows" })
    this.#empty = createElement("p", { className: "telltale-detail" }, texts.message("tray_empty"))
    this.#rest = createElement("p", { className: "telltale-detail", hidden: true })
    const all = createElement("a", { href: this.#live.page.urls.tasks, className: "telltale-all" }, texts.message("all_tasks"))
    this.#clear = createElement("button", { type: "button", className: "telltale-clear" }, texts.message("clear"))
    this.#clear.addEventListener("click", () => this.#clearEnded())
    const isLineHidden = this.#line?.hidden ?? true
    this.#line = createElement("p", { className: "telltale-detail", hidden: isLineHidden }, texts.message("connection_ended"))
    this.#panel = createElement(
      "div",
      { id, popover: "auto", className: "telltale-tray-panel", role: "dialog", "aria-label": title },
      createElement("div", { className: "telltale-top" }, createElement("p", { className: "telltale-label" }, title), all, this.#close),
      this.#line,
      this.#list,
      this.#empty,
      createElement("div", { className: "telltale-tray-foot" }, this.#rest, this.#clear),
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

  /** Clear the ended tasks that the panel shows: what was never shown stays, and comes into view. */
  #clearEnded() {
    this.#tasks.clear(this.#shown)
    this.#show()
    if (this.#clear.hidden) this.#close.focus()
  }

  #onClearedElsewhere() {
    this.#tasks.load()
    this.#show()
  }

  #show() {
    if (!this.#controller) return
    const tasks = this.#tasks.list(this.#live.snapshots.values())
    this.#changes.ignore(() => this.#showTasks(tasks))
    if (this.#isOpen) this.#actions.ask(this.#shown.map(({ id }) => id))
  }

  /** @param {Snapshot[]} tasks */
  #showTasks(tasks) {
    this.#showCount(tasks.filter(snapshot => !snapshot.ended).length)
    if (!this.#isOpen) return
    this.#shown = tasks.slice(0, MAX_ROWS)
    this.#showRows(this.#shown)
    const rest = tasks.length - this.#shown.length
    setText(this.#rest, rest ? pageText().plural("more", rest) : "")
    this.#rest.hidden = rest === 0
    this.#empty.hidden = tasks.length > 0
    this.#clear.hidden = !this.#shown.some(snapshot => snapshot.ended)
  }

  /** @param {number} running how many tasks have not ended */
  #showCount(running) {
    const texts = pageText()
    setText(this.#count, running ? texts.number(running) : "")
    this.#count.hidden = running === 0
    setText(this.#countText, running ? texts.plural("open_tasks", running) : "")
    setAttribute(this.#button, "aria-describedby", running ? this.#countText.id : null)
    setAttribute(this, "running", running || null)
  }

  /** @param {Snapshot[]} snapshots */
  #showRows(snapshots) {
    const rows = snapshots.map(snapshot => this.#showRow(snapshot))
    for (const id of this.#rows.keys()) if (!snapshots.some(snapshot => snapshot.id === id)) this.#rows.delete(id)
    const hadFocus = this.#list.contains(document.activeElement)
    arrange(this.#list, rows)
    if (hadFocus && !this.#list.contains(document.activeElement)) this.#close.focus()
  }

  /** @param {Snapshot} snapshot */
  #showRow(snapshot) {
    const row = this.#rows.get(snapshot.id) ?? new TrayRow(snapshot, this.#live, () => this.#show())
    this.#rows.set(snapshot.id, row)
    row.show(snapshot, this.#actions.of(snapshot.id))
    return row.element
  }
}

/**
 * Make these the elements of the list. The one with the focus stays in its place, and the others move around it: an
 * element that is moved loses the focus.
 * @param {HTMLElement} list
 * @param {HTMLElement[]} elements
 */
function arrange(list, elements) {
  const isUnchanged = elements.length === list.children.length && elements.every((it, i) => list.children[i] === it)
  if (isUnchanged) return
  const pivot = elements.findIndex(element => element.contains(document.activeElement))
  if (pivot < 0) return list.replaceChildren(...elements)
  for (const child of [...list.children]) if (!elements.some(element => element === child)) child.remove()
  elements[pivot].before(...elements.slice(0, pivot))
  elements[pivot].after(...elements.slice(pivot + 1))
}
