/**
 * `<task-tray>`: a button with a count, and a panel that lists the visitor's tasks, with their actions.
 *
 * Running tasks come before ended ones, the newest first; ended tasks stay until cleared. The panel has room for the
 * first of them, and leads to the page that lists all. Without scripts, the element shows its content, such as a link to
 * that page.
 *
 * Markup of the page's author for the button, the panel or a row stands in templates inside the element, and stays
 * there: `<template class="telltale-row">`. A morph that brings the other content back, or removes the button or the
 * panel, does not last: both are put back before the page paints, and an open panel stays open.
 */
import { createElement, focusFirst, rememberStructure, setAttribute, setText } from "telltale/elements/dom.js"
import { ForeignChanges } from "telltale/elements/foreign-changes.js"
import { KnownActions } from "telltale/elements/known-actions.js"
import { createLiveRegions } from "telltale/elements/live-regions.js"
import { pageText } from "telltale/elements/page-text.js"
import { createFromTemplate, fillText, partFinder } from "telltale/elements/parts.js"
import { TrayRow } from "telltale/elements/tray-row.js"
import { STORAGE_KEY, TrayTasks } from "telltale/elements/tray-tasks.js"
import { connect } from "telltale/index.js"
/** @import { Live } from "telltale/live/live.js" */
/** @import { Snapshot } from "telltale/live/snapshots.js" */

const TICK_MS = 1_000
/** Snapshots that arrive within this time are shown together. */
const BATCH_MS = 50
const MAX_ROWS = 20
/** Pixels between panel and button, and between panel and window. */
const SPACE = 8
/** The least height of the panel, in pixels, if button and window leave less. */
const MIN_HEIGHT = 160
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
    // These events don't bubble. The first one comes at once, so that no morph opens a panel that was just closed.
    const onEvent = (/** @type {Event} */ event) => this.#onToggle(/** @type {ToggleEvent} */ (event))
    for (const name of ["beforetoggle", "toggle"]) this.addEventListener(name, onEvent, { signal, capture: true })
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
    const content = [...this.querySelectorAll(":scope > template"), this.#button, this.#panel]
    if (!isSame(content, this.children)) this.replaceChildren(...content)
  }

  #createContent() {
    const id = `telltale-tray-${++trayCount}`
    this.#createButton(id)
    this.#createPanel(id)
    this.#rows.clear()
    this.#isIntact = rememberStructure(this.#button, this.#panel)
  }

  /** @param {string} id of the panel */
  #createButton(id) {
    // Its name is what can be seen on it: a person who speaks to the computer reads the name from the page.
    const button = createFromTemplate(this, "tray-button", "button", { type: "button", "aria-expanded": "false" })
    const part = partFinder(button, createInButton)
    fillText(part("tray-label"), pageText().message("tray"))
    button.append(" ")
    this.#count = part("count")
    this.#count.hidden = true
    this.#countText = createElement("span", { id: `${id}-count`, hidden: true })
    button.append(this.#countText)
    button.setAttribute("popovertarget", id)
    this.#button = button
  }

  /** @param {string} id */
  #createPanel(id) {
    const texts = pageText()
    const isLineHidden = this.#line?.hidden ?? true
    const panel = createFromTemplate(this, "tray-panel", "div", { id, popover: "auto", role: "dialog" })
    const part = partFinder(panel, createInPanel)
    const top = part("top")
    const label = part("label", top)
    fillText(label, texts.message("tray"))
    setAttribute(panel, "aria-label", label.textContent)
    const all = part("all", top)
    all.href = this.#live.page.urls.tasks
    fillText(all, texts.message("all_tasks"))
    this.#close = part("dismiss", top)
    fillText(this.#close, "×")
    setAttribute(this.#close, "aria-label", texts.message("close"))
    this.#close.addEventListener("click", () => this.#panel.hidePopover())
    this.#line = part("line")
    this.#line.hidden = isLineHidden
    fillText(this.#line, texts.message("connection_ended"))
    this.#list = part("rows")
    this.#empty = part("empty")
    fillText(this.#empty, texts.message("tray_empty"))
    const foot = part("tray-foot")
    this.#rest = part("rest", foot)
    this.#rest.hidden = true
    this.#clear = part("clear", foot)
    fillText(this.#clear, texts.message("clear"))
    this.#clear.addEventListener("click", () => this.#clearEnded())
    this.#panel = panel
  }

  /** @param {ToggleEvent} event */
  #onToggle({ target, type, newState }) {
    if (target !== this.#panel) return
    const isOpen = newState === "open"
    this.#staysOpen = isOpen
    if (type === "beforetoggle") return
    this.#changes.ignore(() => {
      this.#button.setAttribute("aria-expanded", String(isOpen))
      if (isOpen) this.#placePanel()
    })
    if (!isOpen) return
    this.#show()
    // Opened with the keyboard, the panel takes the focus; opened with a pointer, it does not.
    if (this.#button.matches(":focus-visible")) focusFirst(this.#panel)
  }

  /**
   * Put the panel below the button, with their ends aligned; above it if there is more room, and always inside the
   * window. On narrow screens the style sheet ignores this.
   */
  #placePanel() {
    const { top, bottom, left, right } = this.#button.getBoundingClientRect()
    const { clientWidth, clientHeight } = document.documentElement
    const isRtl = getComputedStyle(this).direction === "rtl"
    const room = clientWidth - this.#panel.offsetWidth - SPACE
    const end = Math.max(SPACE, Math.min(room, isRtl ? left : clientWidth - right))
    const [above, below] = [top - 2 * SPACE, clientHeight - bottom - 2 * SPACE]
    const isAbove = above > below
    const lengths = {
      end,
      top: isAbove ? null : bottom + SPACE,
      bottom: isAbove ? clientHeight - top + SPACE : null,
      room: Math.max(MIN_HEIGHT, isAbove ? above : below),
    }
    for (const [name, px] of Object.entries(lengths)) {
      this.#panel.style.setProperty(`--telltale-tray-${name}`, px === null ? "auto" : `${Math.round(px)}px`)
    }
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
    const row = this.#rows.get(snapshot.id) ?? this.#createRow(snapshot)
    row.show(snapshot, this.#actions.of(snapshot.id))
    return row.element
  }

  /** @param {Snapshot} snapshot */
  #createRow(snapshot) {
    const element = createFromTemplate(this, "row", "li")
    const row = new TrayRow(element, snapshot, this.#live, () => this.#show())
    this.#rows.set(snapshot.id, row)
    return row
  }
}

const createInButton = {
  "tray-label": () => createElement("span", { className: "telltale-tray-label" }),
  count: () => createElement("span", { className: "telltale-count" }),
}

const createInPanel = {
  top: () => createElement("div", { className: "telltale-top" }),
  label: () => createElement("p", { className: "telltale-label" }),
  all: () => createElement("a", { className: "telltale-all" }),
  dismiss: () => createElement("button", { type: "button", className: "telltale-dismiss" }),
  line: () => createElement("p", { className: "telltale-line telltale-detail" }),
  rows: () => createElement("ul", { className: "telltale-rows" }),
  empty: () => createElement("p", { className: "telltale-empty telltale-detail" }),
  "tray-foot": () => createElement("div", { className: "telltale-tray-foot" }),
  rest: () => createElement("p", { className: "telltale-rest telltale-detail" }),
  clear: () => createElement("button", { type: "button", className: "telltale-clear" }),
}

/**
 * @param {Element[]} elements
 * @param {HTMLCollection} children
 */
const isSame = (elements, children) =>
  elements.length === children.length && elements.every((element, i) => children[i] === element)

/**
 * Make these the elements of the list. The one with the focus stays in its place, and the others move around it: an
 * element that is moved loses the focus.
 * @param {HTMLElement} list
 * @param {HTMLElement[]} elements
 */
function arrange(list, elements) {
  if (isSame(elements, list.children)) return
  const pivot = elements.findIndex(element => element.contains(document.activeElement))
  if (pivot < 0) return list.replaceChildren(...elements)
  for (const child of [...list.children]) if (!elements.some(element => element === child)) child.remove()
  elements[pivot].before(...elements.slice(0, pivot))
  elements[pivot].after(...elements.slice(pivot + 1))
}
